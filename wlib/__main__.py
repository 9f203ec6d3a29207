"""The command `wlib`, also as `python -m wlib`; it says what to install where the tools lack."""


def main() -> None:
    """Entry point of the command."""
    try:
        from wlib.book import cli
    except ModuleNotFoundError as error:
        if (error.name or "wlib").partition(".")[0] == "wlib":
            raise
        raise SystemExit(f"wlib: there is no {error.name} here: the library is installed without "
                         "the book's tools; pip install 'weights-as-data[book]'") from None
    cli.main()


if __name__ == "__main__":
    main()
