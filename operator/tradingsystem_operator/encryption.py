"""TLS towards message servers that persons run: whom the operator trusts, and what it says of a certificate that is refused.

The authorities come as text of a Secret, not as a file; that nothing is said in clear where TLS is asked for is the client's own business.
"""

from __future__ import annotations

import ssl


def trusted(authorities: str) -> ssl.SSLContext:
    """Certificates of these authorities, else of those that this machine trusts. Raises ``OSError`` for what is no certificate."""
    return ssl.create_default_context(cadata=authorities or None)


def told(error: Exception) -> str:
    """A connection's error in words; a certificate that is refused by TLS' own reason."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message}"
    return str(error) or type(error).__name__
