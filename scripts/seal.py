"""List the committed results with their hashes: python scripts/seal.py, after adding one."""

from doamlib.book import seal


def main() -> None:
    print(f"wrote {seal.write()}, {len(seal.sums())} files")


if __name__ == "__main__":
    main()
