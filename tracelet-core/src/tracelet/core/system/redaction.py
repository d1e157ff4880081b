"""What of a URI may be written down: all of the address, none of the secrets.

A secret is known by where it stands: a password before the host, a parameter whose name says so. A token is also known
by its own looks, for some stand where a name would. Where raw separators make a password ambiguous, it is the address
that gives way. Every step is linear in the length of the text, whatever the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote, unquote, unquote_plus

import attrs

__all__ = ["PLACED_SCHEMES", "SCHEME", "Redacted", "redact", "redact_text", "redacted"]

#: A scheme has two letters at least: one letter is a drive of Windows.
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
#: Schemes whose host is a bucket or a container: what follows is a key, in which any character may stand.
BUCKET_SCHEMES = frozenset(
    {
        "s3",
        "s3a",
        "s3n",
        "gs",
        "gcs",
        "az",
        "abfs",
        "abfss",
        "wasb",
        "wasbs",
        "adl",
        "oci",
        "oss",
        "cos",
        "obs",
        "r2",
        "b2",
    }
)
#: Schemes that are nothing without a host or a bucket.
PLACED_SCHEMES = BUCKET_SCHEMES | {"http", "https", "ftp", "ftps", "sftp", "ssh", "scp", "smb", "webhdfs"}
#: Schemes whose authority has a colon that is no password's: a repository, a tag.
_PLAIN_COLON = frozenset({"github", "gitlab", "docker"})
_URI_IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,63}:\S+")
_SCHEME_BEFORE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*$")
#: Schemes where a third slash is a slip, not an empty host.
_SLIPPERY = frozenset({"http", "https", "ftp", "ftps", "sftp", "ssh"})

_AUTHORITY_END = re.compile(r"[/?#\s]|::(?=[A-Za-z][A-Za-z0-9+.-]{1,63}(?:://|::))")
_AUTHORITY_OR_PARAMETERS_END = re.compile("[/?#;]")
_HOSTS = re.compile(r"(?:\[[^\]]*\]|[^:,]*)(?::\d*)?(?:,[^:,]*(?::\d*)?)*")
_MARK = re.compile("[?#]")
_COLON = re.compile(":|%3a", re.IGNORECASE)
#: A host that nothing else looks like.
_SURE_HOST = re.compile(
    r"(?:\[[0-9a-fA-F:.]{2,45}\]|localhost|\d{1,3}(?:\.\d{1,3}){3}|(?:[A-Za-z0-9-]{1,63}\.){1,32}[A-Za-z]{2,63})(?=[:/?#,]|$)",
    re.IGNORECASE,
)

#: Separators of parameters. Of ``;`` and ``?`` only those that begin a parameter: they may stand in a value.
_SEPARATOR = re.compile(r"&|[;?](?=[^&;?=]*=)")
_PATH_PARAMETER = re.compile(r";([^;/=]*)=([^;/]*)")
_SEMICOLON_PARAMETER = re.compile(r";([^;=]*)=([^;]*)")
#: Times that a value is decoded in search of a URI; what is encoded more often is hiding something.
_ENCODED = 4
#: Times that a URI is looked at again, for what is left of a broken one may look like a secret again.
_LOOKS = 8

#: Tokens that say what they are.
_TOKEN = re.compile(
    r"gh[pousr]_\w{4}|github_pat_\w{4}|gl(?:pat|dt|rt|ptt|soat|cbt|ft)-[\w-]{4}|(?:hf|api_org)_(?=[a-z]{0,64}[A-Z0-9])\w{8}"
    r"|sk-(?=[A-Za-z_-]{0,64}\d)[\w-]{16}|[sr]k_(?:live|test)_\w{8}|(?:AKIA|ASIA)[0-9A-Z]{12}|AIza|xox[a-z]-|eyJ[\w-]{8}"
    r"|ya29\.|npm_[A-Za-z0-9]{16}|pypi-AgE\w{8}|dckr_pat_|dapi[0-9a-f]{16}|SG\.[\w-]{16}|shp(?:at|ca|pa|ss)_\w{8}|dop_v1_"
)
#: Long runs of letters and digits may be tokens of another kind.
_RUN = re.compile(r"[A-Za-z0-9]{20,}")
_ALL_HUMPS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_BETWEEN_WORDS = re.compile(r"[\W_]+")
#: Secrets where a name ends in them: ``auth``, and ``session_id``, but not ``authSource``.
_SECRET_WORDS = frozenset(
    {
        *("auth", "bearer", "cred", "creds", "delegation", "hmac", "jwt", "otp", "pass", "phpsessid", "pw", "sas"),
        *("sessid", "session", "sid", "sig", "xsrf"),
    }
)
#: Secrets where they are the whole name: not a ``traffic_sign``.
_SECRET_NAMES = frozenset({"sign", "ticket"})
_OF_A_SECRET = frozenset({"id", "key", "value", "data", "hash", "code", "string"})
#: Secrets wherever a word of a name ends in them.
_SECRET_ENDINGS = (
    *("accesskeyid", "authorization", "credential", "credentials", "googleaccessid", "jwt", "passcode", "passphrase"),
    *("codeverifier", "oauthverifier"),
    *("passwd", "password", "pwd", "secret", "sessionid", "signature", "token"),
    # Whose key is a secret; another's, such as an object's, is an address.
    *(
        "accesskey",
        "accountkey",
        "adminkey",
        "apikey",
        "appkey",
        "applicationkey",
        "authkey",
        "consumerkey",
        "deploykey",
    ),
    *(
        "encryptionkey",
        "functionkey",
        "licensekey",
        "masterkey",
        "privatekey",
        "secretkey",
        "securitykey",
        "servicekey",
    ),
    *("sharedkey", "signingkey", "sshkey", "storagekey", "subscriptionkey", "writekey"),
)
#: What is said about a secret is none.
_ABOUT = frozenset(
    {
        *("alg", "algorithm", "count", "date", "expires", "expiry", "field", "format", "index"),
        *("kind", "length", "level", "limit", "max", "method", "mode", "name", "policy"),
        *("provider", "size", "status", "ttl", "type", "uri", "url", "version"),
    }
)
#: Parameters that make up a signature together, and mean nothing without it.
_FAMILIES = ("x-amz-", "x-goog-")
_FUNCTION_HOSTS = (".azurewebsites.net", ".azurewebsites.us", ".azurewebsites.cn")


@attrs.frozen
class Redacted:
    """A URI without its secrets, and what those were called."""

    uri: str
    #: ``password``, ``user`` where a token stands for one, and the names of parameters.
    cut: tuple[str, ...] = ()


def redact(uri: str) -> str:
    """Return ``uri`` without passwords, tokens and parameters that carry secrets.

    ``https://me:pw@host/x?X-Amz-Signature=1&part=2`` becomes ``https://me@host/x?part=2``. Text that
    is no URI comes back as it is.
    """
    return redacted(uri).uri


def redacted(uri: str) -> Redacted:
    """Return ``uri`` as :func:`redact` does, and what was cut out of it."""
    scheme = SCHEME.match(uri)
    if not scheme:
        return Redacted(uri)
    cut: list[str] = []
    for _ in range(_LOOKS):
        clean = _once(uri, cut)
        if clean == uri:
            return Redacted(uri, tuple(dict.fromkeys(cut)))
        uri = clean
    # Whatever that is, it is no address.
    return Redacted(scheme[0], tuple(dict.fromkeys(cut)))


def redact_text(text: str) -> str:
    """Return a message with the secrets taken out of every URI in it."""
    return _URI_IN_TEXT.sub(lambda match: redact(match[0]), text)


def _once(uri: str, cut: list[str], depth: int = _ENCODED) -> str:
    uri = _without_passwords(uri, cut)
    beginning, mark, fragment = uri.partition("#")
    path, question, query = beginning.partition("?")
    scheme, _, rest = path.partition("://")
    if scheme.rpartition(":")[2].lower() not in BUCKET_SCHEMES:
        parameter = _SEMICOLON_PARAMETER if scheme.lower().startswith("jdbc:") else _PATH_PARAMETER
        path = parameter.sub(lambda found: _kept(found[0], found[1], found[2], cut), path)
    host = _AUTHORITY_END.split(rest, 1)[0].rpartition("@")[2].partition(":")[0]
    secret_names = {"code"} if host.lower().endswith(_FUNCTION_HOSTS) else set()
    return (
        path
        + _without_secrets(question, query, cut, depth, secret_names)
        + _without_secrets(mark, fragment, cut, depth, set())
    )


def _kept(whole: str, name: str, value: str, cut: list[str]) -> str:
    if _is_secret(name, value):
        cut.append(unquote_plus(name))
        return ""
    return whole


# -- before the host


def _without_passwords(uri: str, cut: list[str]) -> str:
    """Look at every ``://``, for URIs stand in one another, and are chained as ``simplecache::s3://…``."""
    done, parts = 0, []
    for scheme, start in _authorities(uri):
        if start < done:
            continue  # in a password that is cut already
        kept, end = _user(uri, scheme, start, cut)
        parts += [uri[done:start], kept]
        done = end
    return "".join(parts) + uri[done:]


def _authorities(uri: str) -> Iterator[tuple[str, int]]:
    """Yield where an authority may begin, and its scheme."""
    found = uri.find("://")
    if found < 0 and (first := SCHEME.match(uri)) and first[0][:-1].lower() in PLACED_SCHEMES:
        yield first[0][:-1].lower(), first.end() + uri.startswith("/", first.end())
    while found >= 0:
        scheme = _SCHEME_BEFORE.search(uri, max(0, found - 64), found)
        name = scheme[0].lower() if scheme else ""
        start = found + 3
        while name in _SLIPPERY and uri.startswith("/", start):
            start += 1
        yield name, start
        found = uri.find("://", start)


def _user(uri: str, scheme: str, start: int, cut: list[str]) -> tuple[str, int]:
    """What is kept of what stands before the host, and where that ends."""
    bracket = uri.find("]", start, start + 64) if uri.startswith("[", start) else start
    # Some drivers put parameters right behind the host.
    over = _AUTHORITY_OR_PARAMETERS_END if scheme == "sqlserver" else _AUTHORITY_END
    found = over.search(uri, max(start, bracket))
    end = found.start() if found else len(uri)
    at = uri.rfind("@", start, end)
    colon = None if scheme in _PLAIN_COLON else _COLON.search(uri, start, end if at < 0 else at)
    if colon is not None and colon.end() != at and not (at < 0 and _HOSTS.fullmatch(uri, start, end)):
        at = _end_of_password(uri, scheme, end, at)
    if at < 0:
        return "", start
    name = uri[start : at if colon is None else colon.start()]
    is_token = _is_token(unquote(name)) or (scheme not in BUCKET_SCHEMES and _is_random(unquote(name)))
    has_password = colon is not None and colon.end() < at
    cut += ["user"] * is_token + ["password"] * has_password
    if is_token or not name:
        return "", at + 1
    return (f"{name}@" if has_password else uri[start : at + 1]), at + 1


def _end_of_password(uri: str, scheme: str, end: int, at: int) -> int:
    """The ``@`` before the host: the first with a host behind it that is sure to be one, or else the last.

    ``at`` is the last in what would be the authority if no separator stood in the password; -1 where there is none.
    """
    if at >= 0 and (scheme in BUCKET_SCHEMES or _SURE_HOST.match(uri, at + 1)):
        return at
    last = uri.rfind("@", end, _before_parameters(uri, end) if at >= 0 else len(uri))
    found = uri.find("@", end, last + 1) if last >= 0 else -1
    if found >= 0 and scheme in BUCKET_SCHEMES:
        return found
    while found >= 0 and not _SURE_HOST.match(uri, found + 1):
        found = uri.find("@", found + 1, last + 1)
    return max(found, at) if found >= 0 else max(last, at)


def _before_parameters(uri: str, start: int) -> int:
    """Where the first value of a parameter begins: what follows is data."""
    mark = _MARK.search(uri, start)
    value = uri.find("=", mark.end()) if mark else -1
    return value if value >= 0 else len(uri)


# -- parameters


def _without_secrets(mark: str, parameters: str, cut: list[str], depth: int, secret_names: set[str]) -> str:
    """Leave out secrets; what begins with one begins with what comes next, if there is anything."""
    kept: list[str] = []
    before = ""
    lost = False
    for separator, pair in _pairs(parameters):
        before = before if before == "?" else separator
        name, equals, value = pair.partition("=")
        clean = _nested(value if equals else name, cut, depth)
        if clean is None or (equals and (_is_secret(name, value) or (value and unquote(name).lower() in secret_names))):
            cut.append(unquote_plus(name))
            lost = True
            continue
        kept += [before if kept else "", f"{name}={clean}" if equals else clean]
        before = ""
    return "" if lost and not kept else mark + "".join(kept)


def _pairs(parameters: str) -> Iterator[tuple[str, str]]:
    separator, start = "", 0
    for found in _SEPARATOR.finditer(parameters):
        yield separator, parameters[start : found.start()]
        separator, start = found[0], found.end()
    yield separator, parameters[start:]


def _nested(value: str, cut: list[str], depth: int) -> str | None:
    """A value without the secrets of a URI that is encoded in it; None for one that is encoded too often to see."""
    plain = unquote(value)
    if plain == value:
        return value
    if depth == 0:
        return None
    clean = _once(plain, cut, depth - 1) if SCHEME.match(plain) else _nested(plain, cut, depth - 1)
    return value if clean == plain else clean and quote(clean, safe="", errors="surrogatepass")


def _is_secret(name: str, value: str) -> bool:
    plain = unquote_plus(name).strip()
    if not value:
        return False
    if plain.lower().startswith(_FAMILIES) or _is_token(unquote(value)):
        return True
    if plain.lower() == "key":
        return not _is_address(unquote_plus(value))
    return _names_a_secret(_ALL_HUMPS.findall(plain)) or _names_a_secret(_BETWEEN_WORDS.split(plain))


def _names_a_secret(found: list[str]) -> bool:
    stripped = (word.lower().rstrip("0123456789") for word in found)
    words = [word for word in stripped if word]
    if len(words) > 1 and words[-1] in _ABOUT:
        return False
    while len(words) > 1 and words[-1] in _OF_A_SECRET and words[-2] in _SECRET_WORDS:
        words.pop()
    return (
        not _SECRET_WORDS.isdisjoint(words[-1:])
        or (len(words) == 1 and words[0] in _SECRET_NAMES)
        or "".join(words).endswith(_SECRET_ENDINGS)
        or any(word.endswith(_SECRET_ENDINGS) for word in words)
    )


def _is_address(value: str) -> bool:
    """Whether a ``key`` is one of a store, such as ``train/data.csv``, and not an API's."""
    return "/" in value or "." in value or value.isdigit()


def _is_token(text: str) -> bool:
    return bool(_TOKEN.match(text))


def _is_random(text: str) -> bool:
    return any(
        any(char.isdigit() for char in run)
        and any(char.isalpha() for char in run)
        and (len(run) >= 32 or (run != run.lower() and run != run.upper()))
        for run in _RUN.findall(text)
    )
