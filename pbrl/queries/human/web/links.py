"""Links of invitations."""


def invitation_link(url: str, token: str) -> str:
    """Return the link of an invitation.

    What follows # stays in the browser: the token is in no log of a server or a proxy.

    Args:
        url: of the server, without a path.
        token: of the invitation.
    """
    return f"{url.rstrip('/')}/join#{token}"
