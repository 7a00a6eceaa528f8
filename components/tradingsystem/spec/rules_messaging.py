"""Relations between fields that say where the message server is. See ``rules.py``."""

from tradingsystem.spec.messaging import ENCRYPTED, Messaging, is_encrypted
from tradingsystem.spec.rule import SPEC, Document, Rule

_REPLICAS = (1, 3, 5)


def _messaging(document: Document) -> Messaging:
    return document.system.spec.messaging


def _encrypted(messaging: Messaging) -> bool:
    return all(is_encrypted(url) for url in messaging.urls)


def _external_server_has_urls(document: Document) -> bool:
    messaging = _messaging(document)
    return not messaging.external or len(messaging.urls) > 0


def _urls_only_for_external(document: Document) -> bool:
    messaging = _messaging(document)
    return messaging.external or len(messaging.urls) == 0


def _external_server_has_secret(document: Document) -> bool:
    messaging = _messaging(document)
    return not messaging.external or messaging.secret_ref.name != ""


def _server_secrets_only_for_external(document: Document) -> bool:
    messaging = _messaging(document)
    return messaging.external or (messaging.secret_ref.name == "" and messaging.ca_secret_ref.name == "")


def _urls_agree_on_tls(document: Document) -> bool:
    messaging = _messaging(document)
    return _encrypted(messaging) or not any(is_encrypted(url) for url in messaging.urls)


def _authorities_only_with_tls(document: Document) -> bool:
    messaging = _messaging(document)
    return messaging.ca_secret_ref.name == "" or _encrypted(messaging)


def _replicas_are_odd(document: Document) -> bool:
    return _messaging(document).replicas in _REPLICAS


def _replicas_only_for_external(document: Document) -> bool:
    messaging = _messaging(document)
    return messaging.external or messaging.replicas == 1


_ALL_ENCRYPTED = f"self.messaging.urls.all(u, u.startsWith('{ENCRYPTED}'))"

MESSAGING_RULES = (
    Rule(
        name="external-server-has-urls",
        scope=SPEC,
        fields=("spec.messaging.urls", "spec.messaging.type"),
        cel="self.messaging.type != 'External' || self.messaging.urls.size() > 0",
        holds=_external_server_has_urls,
        reason="type External needs the addresses of the server",
        remedy="list urls, one for each member, such as tls://nats-0.example.org:4222",
    ),
    Rule(
        name="urls-only-for-external",
        scope=SPEC,
        fields=("spec.messaging.urls", "spec.messaging.type"),
        cel="self.messaging.type == 'External' || self.messaging.urls.size() == 0",
        holds=_urls_only_for_external,
        reason="urls are read only when type is External",
        remedy="set type to External, or remove urls",
    ),
    Rule(
        name="external-server-has-secret",
        scope=SPEC,
        fields=("spec.messaging.secretRef.name", "spec.messaging.type"),
        cel="self.messaging.type != 'External' || self.messaging.secretRef.name != ''",
        holds=_external_server_has_secret,
        reason="type External needs the passwords of its users",
        remedy="create a secret with a key for each user that tradingsystem message-users lists, and name it in secretRef.name",
    ),
    Rule(
        name="server-secrets-only-for-external",
        scope=SPEC,
        fields=("spec.messaging.secretRef.name", "spec.messaging.caSecretRef.name", "spec.messaging.type"),
        cel="self.messaging.type == 'External' || (self.messaging.secretRef.name == '' && self.messaging.caSecretRef.name == '')",
        holds=_server_secrets_only_for_external,
        reason="secretRef and caSecretRef are read only when type is External; a Managed server's passwords are made",
        remedy="set type to External, or remove both",
    ),
    Rule(
        name="urls-agree-on-tls",
        scope=SPEC,
        fields=("spec.messaging.urls",),
        cel=f"{_ALL_ENCRYPTED} || !self.messaging.urls.exists(u, u.startsWith('{ENCRYPTED}'))",
        holds=_urls_agree_on_tls,
        reason="some urls ask for TLS and some do not, so passwords would leave in clear to those",
        remedy="begin each with tls://",
    ),
    Rule(
        name="authorities-only-with-tls",
        scope=SPEC,
        fields=("spec.messaging.caSecretRef.name", "spec.messaging.urls"),
        cel=f"self.messaging.caSecretRef.name == '' || {_ALL_ENCRYPTED}",
        holds=_authorities_only_with_tls,
        reason="caSecretRef is read only with TLS",
        remedy="begin each of urls with tls://, or remove caSecretRef",
    ),
    Rule(
        name="replicas-are-odd",
        scope=SPEC,
        fields=("spec.messaging.replicas",),
        cel="self.messaging.replicas in [1, 3, 5]",
        holds=_replicas_are_odd,
        reason="an even number keeps no more than the odd one below it: more than half must be there",
        remedy="use 1, 3 or 5",
    ),
    Rule(
        name="replicas-only-for-external",
        scope=SPEC,
        fields=("spec.messaging.replicas", "spec.messaging.type"),
        cel="self.messaging.type == 'External' || self.messaging.replicas == 1",
        holds=_replicas_only_for_external,
        reason="a Managed server is one server",
        remedy="set type to External, or replicas to 1",
    ),
)
