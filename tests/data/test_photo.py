"""Pictures of a reader's own, whatever kind of file they are."""

import numpy as np
import pytest
from PIL import Image

from doamlib.data.faults import DataError
from doamlib.data.images import photo

GREY = np.array([[0, 100, 200], [50, 150, 255]], dtype=np.uint8)


def pixels(path):
    """H,W,3 as numbers that do not wrap around."""
    return photo(path).permute(1, 2, 0).numpy().astype(int)


def test_colours_stay(tmp_path):
    colours = np.arange(24, dtype=np.uint8).reshape(2, 4, 3) * 10
    for suffix in ("png", "tiff", "bmp"):
        Image.fromarray(colours).save(tmp_path / f"a.{suffix}")
        assert np.array_equal(pixels(tmp_path / f"a.{suffix}"), colours)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK"])
def test_grey_in_any_coat_gives_three_equal_channels(tmp_path, mode):
    Image.fromarray(GREY).convert(mode).save(tmp_path / "a.tiff")
    assert np.array_equal(pixels(tmp_path / "a.tiff"), np.stack([GREY] * 3, axis=2))


def test_one_bit_is_black_and_white(tmp_path):
    Image.fromarray(GREY > 120).save(tmp_path / "a.png")
    assert np.array_equal(pixels(tmp_path / "a.png")[..., 0], 255 * (GREY > 120))


def test_what_is_transparent_is_white_as_the_belt(tmp_path):
    colours = np.zeros((1, 3, 4), dtype=np.uint8)
    colours[..., 3] = 0, 128, 255
    Image.fromarray(colours, "RGBA").save(tmp_path / "a.png")
    found = pixels(tmp_path / "a.png")[0, :, 0]
    assert found[0] == 255 and found[2] == 0 and abs(found[1] - 127) <= 1


def test_a_transparent_colour_of_a_palette_is_white(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png", transparency=0)
    assert pixels(tmp_path / "a.png").tolist() == [[[255, 255, 255], [40, 50, 60]]]


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_turned_picture_is_taken_as_viewers_show_it(tmp_path, suffix):
    colours = np.zeros((16, 32, 3), dtype=np.uint8)
    colours[:, :16] = 255  # white on the left
    exif = Image.Exif()
    exif[0x0112] = 6  # shown a quarter turn clockwise: left becomes top
    Image.fromarray(colours).save(tmp_path / f"a.{suffix}", exif=exif)
    found = pixels(tmp_path / f"a.{suffix}")
    assert found.shape == (32, 16, 3)
    assert found[:12].min() > 240 and found[20:].max() < 15


@pytest.mark.parametrize(("bits", "shift"), [(12, 4), (16, 8), (8, 0)])
def test_of_deep_pixels_the_upper_eight_bits_in_use_are_kept(tmp_path, bits, shift):
    values = np.array([[0, 2**bits - 1, 2 ** (bits - 1)]], dtype=np.uint16)
    for suffix in ("png", "tiff"):
        Image.fromarray(values).save(tmp_path / f"a.{suffix}")
        assert pixels(tmp_path / f"a.{suffix}")[0, :, 1].tolist() == (values[0] >> shift).tolist()


def test_a_deep_picture_that_is_black_all_over_is_black(tmp_path):
    Image.fromarray(np.zeros((2, 2), dtype=np.uint16)).save(tmp_path / "a.png")
    assert pixels(tmp_path / "a.png").max() == 0


def test_the_first_of_several_frames_is_taken(tmp_path):
    frames = [Image.new("L", (2, 2), value) for value in (7, 9)]
    frames[0].save(tmp_path / "a.tiff", save_all=True, append_images=frames[1:])
    assert np.unique(pixels(tmp_path / "a.tiff")).tolist() == [7]


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_told_in_one_line_with_its_path(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError) as refused:
        photo(tmp_path / "a.png")
    assert str(refused.value).startswith(f"{tmp_path / 'a.png'}: error: ")
    assert "\n" not in str(refused.value) and "restore" in str(refused.value)


def test_floating_point_pixels_are_refused(tmp_path):
    Image.fromarray(np.zeros((2, 2), dtype=np.float32)).save(tmp_path / "a.tiff")
    with pytest.raises(DataError, match="pixels of kind 'F'"):
        photo(tmp_path / "a.tiff")
