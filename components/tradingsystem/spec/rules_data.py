"""Relations between fields that say which market data is used: universe, sources, cache, filter. See ``rules.py``."""

from tradingsystem.spec.filtering import RuleRegime
from tradingsystem.spec.resource import Mode, TradingSystemSpec
from tradingsystem.spec.rule import SPEC, Document, Rule
from tradingsystem.spec.sources import CHANNELS_OF, CacheType, Channel, DataFeed, SourceType, channels_of
from tradingsystem.spec.universe import Selection


def _spec(document: Document) -> TradingSystemSpec:
    return document.system.spec


# What may be traded.


def _listed_symbols_are_given(document: Document) -> bool:
    universe = _spec(document).universe
    return universe.selection is not Selection.LIST or len(universe.symbols) > 0


def _symbols_only_when_listed(document: Document) -> bool:
    universe = _spec(document).universe
    return universe.selection is Selection.LIST or len(universe.symbols) == 0


def _symbols_fit(document: Document) -> bool:
    universe = _spec(document).universe
    return len(universe.symbols) <= universe.symbols_max


def _config_map_is_named(document: Document) -> bool:
    universe = _spec(document).universe
    return universe.selection is not Selection.CONFIG_MAP or universe.config_map_ref.name != ""


def _config_map_only_when_selected(document: Document) -> bool:
    universe = _spec(document).universe
    return universe.selection is Selection.CONFIG_MAP or universe.config_map_ref.name == ""


UNIVERSE_RULES = (
    Rule(
        name="listed-symbols-are-given",
        scope=SPEC,
        fields=("spec.universe.symbols", "spec.universe.selection"),
        cel="self.universe.selection != 'List' || self.universe.symbols.size() > 0",
        holds=_listed_symbols_are_given,
        reason="selection List needs symbols",
        remedy="list tickers under symbols, or set selection to All",
    ),
    Rule(
        name="symbols-only-when-listed",
        scope=SPEC,
        fields=("spec.universe.symbols", "spec.universe.selection"),
        cel="self.universe.selection == 'List' || self.universe.symbols.size() == 0",
        holds=_symbols_only_when_listed,
        reason="symbols are read only when selection is List",
        remedy="set selection to List, or remove symbols",
    ),
    Rule(
        name="symbols-fit",
        scope=SPEC,
        fields=("spec.universe.symbols", "spec.universe.symbolsMax"),
        cel="self.universe.symbols.size() <= self.universe.symbolsMax",
        holds=_symbols_fit,
        reason="more symbols are listed than symbolsMax allows",
        remedy="raise symbolsMax or shorten the list",
    ),
    Rule(
        name="config-map-is-named",
        scope=SPEC,
        fields=("spec.universe.configMapRef.name", "spec.universe.selection"),
        cel="self.universe.selection != 'ConfigMap' || self.universe.configMapRef.name != ''",
        holds=_config_map_is_named,
        reason="selection ConfigMap needs the name of one",
        remedy="set configMapRef.name",
    ),
    Rule(
        name="config-map-only-when-selected",
        scope=SPEC,
        fields=("spec.universe.configMapRef.name", "spec.universe.selection"),
        cel="self.universe.selection == 'ConfigMap' || self.universe.configMapRef.name == ''",
        holds=_config_map_only_when_selected,
        reason="configMapRef is read only when selection is ConfigMap",
        remedy="set selection to ConfigMap, or remove configMapRef",
    ),
)


# Where data comes from.


def _carried(channel: Channel) -> str:
    """CEL: some source carries the channel, by name or by carrying everything its type can."""
    types = ", ".join(f"'{kind}'" for kind in SourceType if channel in CHANNELS_OF[kind])
    return f"self.sources.exists(s, '{channel}' in s.channels || (s.channels.size() == 0 && s.type in [{types}]))"


def _deliverable() -> str:
    """CEL: each listed channel is one the source's type can deliver."""
    clauses = []
    for kind in SourceType:
        missing = [channel for channel in Channel if channel not in CHANNELS_OF[kind]]
        if missing:
            clauses.append(f"(s.type != '{kind}' || !s.channels.exists(c, c in [{', '.join(repr(str(item)) for item in missing)}]))")
    return f"self.sources.all(s, {' && '.join(clauses)})"


def _prices_are_carried(document: Document) -> bool:
    carried = frozenset[Channel]().union(*(channels_of(source) for source in _spec(document).sources))
    return {Channel.TRADES, Channel.QUOTES} <= carried


def _channels_fit_type(document: Document) -> bool:
    return all(frozenset(source.channels) <= CHANNELS_OF[source.type] for source in _spec(document).sources)


def _one_polygon_source(document: Document) -> bool:
    return sum(source.type is SourceType.POLYGON for source in _spec(document).sources) <= 1


def _feed_only_for_alpaca(document: Document) -> bool:
    return all(source.type is SourceType.ALPACA or source.feed is DataFeed.SIP for source in _spec(document).sources)


def _custom_source_names_plugin(document: Document) -> bool:
    return all(source.type is not SourceType.CUSTOM or source.plugin != "" for source in _spec(document).sources)


def _plugin_only_for_custom(document: Document) -> bool:
    return all(source.type is SourceType.CUSTOM or source.plugin == "" for source in _spec(document).sources)


def _sources_have_secrets(document: Document) -> bool:
    spec = _spec(document)
    return spec.mode is Mode.SIMULATION or all(source.type is SourceType.CUSTOM or source.secret_ref.name for source in spec.sources)


def _redis_has_address(document: Document) -> bool:
    cache = _spec(document).cache
    return cache.type is not CacheType.REDIS or cache.address != ""


def _address_only_for_redis(document: Document) -> bool:
    cache = _spec(document).cache
    return cache.type is CacheType.REDIS or cache.address == ""


SOURCE_RULES = (
    Rule(
        name="prices-are-carried",
        scope=SPEC,
        fields=("spec.sources",),
        cel=f"{_carried(Channel.TRADES)} && {_carried(Channel.QUOTES)}",
        holds=_prices_are_carried,
        reason="no source carries both Trades and Quotes, without which nothing can be traded",
        remedy="add the channels Trades and Quotes to a Polygon or Alpaca source",
    ),
    Rule(
        name="channels-fit-type",
        scope=SPEC,
        fields=("spec.sources",),
        cel=_deliverable(),
        holds=_channels_fit_type,
        reason="a source lists a channel that its type cannot deliver",
        remedy="; ".join(f"{kind}: {', '.join(item for item in Channel if item in CHANNELS_OF[kind])}" for kind in SourceType),
    ),
    Rule(
        name="one-polygon-source",
        scope=SPEC,
        fields=("spec.sources",),
        cel="self.sources.filter(s, s.type == 'Polygon').size() <= 1",
        holds=_one_polygon_source,
        reason="two Polygon sources would close each other's socket, which Polygon allows once per cluster and account",
        remedy="keep one Polygon source with all channels",
    ),
    Rule(
        name="feed-only-for-alpaca",
        scope=SPEC,
        fields=("spec.sources",),
        cel="self.sources.all(s, s.type == 'Alpaca' || s.feed == 'Sip')",
        holds=_feed_only_for_alpaca,
        reason="feed Iex is Alpaca's alone",
        remedy="remove feed from sources of another type",
    ),
    Rule(
        name="custom-source-names-plugin",
        scope=SPEC,
        fields=("spec.sources",),
        cel="self.sources.all(s, s.type != 'Custom' || s.plugin != '')",
        holds=_custom_source_names_plugin,
        reason="a Custom source needs the name of its entry point",
        remedy="set plugin to the name registered in the group tradingsystem.sources",
    ),
    Rule(
        name="plugin-only-for-custom",
        scope=SPEC,
        fields=("spec.sources",),
        cel="self.sources.all(s, s.type == 'Custom' || s.plugin == '')",
        holds=_plugin_only_for_custom,
        reason="plugin is read only when type is Custom",
        remedy="set type to Custom, or remove plugin",
    ),
    Rule(
        name="sources-have-secrets",
        scope=SPEC,
        fields=("spec.sources", "spec.mode"),
        cel="self.mode == 'Simulation' || self.sources.all(s, s.type == 'Custom' || s.secretRef.name != '')",
        holds=_sources_have_secrets,
        reason="a source has no secret, which Paper and Live need",
        remedy="set secretRef.name of each source",
    ),
    Rule(
        name="redis-has-address",
        scope=SPEC,
        fields=("spec.cache.address", "spec.cache.type"),
        cel="self.cache.type != 'Redis' || self.cache.address != ''",
        holds=_redis_has_address,
        reason="type Redis needs an address",
        remedy="set address to host:port",
    ),
    Rule(
        name="address-only-for-redis",
        scope=SPEC,
        fields=("spec.cache.address", "spec.cache.type"),
        cel="self.cache.type == 'Redis' || self.cache.address == ''",
        holds=_address_only_for_redis,
        reason="address is read only when type is Redis",
        remedy="set type to Redis, or remove address",
    ),
)


def _both_regimes_have_rules(document: Document) -> bool:
    return {rule.regime for rule in _spec(document).filter.rules} == set(RuleRegime)


FILTER_RULES = (
    Rule(
        name="both-regimes-have-rules",
        scope=SPEC,
        fields=("spec.filter.rules",),
        cel="self.filter.rules.exists(r, r.regime == 'Bull') && self.filter.rules.exists(r, r.regime == 'Bear')",
        holds=_both_regimes_have_rules,
        reason="a regime has no rule, so nothing could be traded while it lasts",
        remedy="give one rule for Bull and one for Bear",
    ),
)
