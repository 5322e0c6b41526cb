"""The command line, called in this process."""

from doamlib import cli


def run(monkeypatch, capsys, *arguments):
    """Exit status, standard output and standard error of ``doam ARGUMENTS``."""
    monkeypatch.setattr("sys.argv", ["doam", *map(str, arguments)])
    try:
        cli.main()
        status = 0
    except SystemExit as stop:
        status = stop.code or 0
    captured = capsys.readouterr()
    return status, captured.out, captured.err
