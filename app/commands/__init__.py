"""The subcommands of `windlass`, one file per subject; `app.cli` gathers them."""
