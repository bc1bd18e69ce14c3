__version__ = "0.1.0"

from .bitstream import BitstreamError
from .codec import decode, encode, inspect, list_codecs

__all__ = ["BitstreamError", "decode", "encode", "inspect", "list_codecs"]
