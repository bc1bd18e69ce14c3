"""`python -m gan_compress` is `gan-compress`."""
from .cli import app

app(prog_name="gan-compress")
