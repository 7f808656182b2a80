"""Function words: they tell languages apart, and are never what a text is about."""
# ruff: noqa: RUF001

from types import MappingProxyType

_ENGLISH = """
a about above after again all also although always am among an and another any are as at away
back be because become been before being below between both but by came can cannot come could
did do does doing done down during each either else ever every few for from further get gets
give given go got had has have having he her here hers him his how however i if in into is it
its itself just keep kept let like made make makes many may me might more most much must my near
need never next no nor not now of off often on once one ones only or other our out over own per
put rather really said same say see seem set she should since so some still such take taken than
that the their them then there therefore these they thing things this those though through thus
to together too two under until up upon us use used uses using very was way we well went were
what when where whether which while who whole whom whose why will with within without would yet
you your
"""
_GERMAN = """
aber alle allem allen aller alles als also am an andere anderen auch auf aus bei beim bin bis
bist da damit dann das dass dem den denn der des dessen deren die dies diese diesem diesen
dieser dieses doch dort du durch ein eine einem einen einer eines er es etwas euch für gegen gab
geht gibt hat hatte hatten hier ich ihm ihn ihr ihre ihrem ihren ihrer im in ins ist jede jedem
jeden jeder jedes kann kein keine können man mehr mein mir mit muss nach nicht noch nun nur ob
oder ohne schon sehr sein seine seinem seinen seiner seit sich sie sind so über um und uns unter
viel vom von vor war waren was wenn wer werden wie wieder wir wird wo wurde wurden zu zum zur
zwischen
"""
_FRENCH = """
alors au aucun aussi autre aux avec avoir car ce cela ces cet cette chaque comme comment dans de
depuis des deux donc du elle elles en encore entre est et étaient était été être eux fait fut il
ils je la le les leur leurs lui mais même mes mon ne nos notre nous on ont ou où par pas peu
plus pour quand que quel quelle qui sa sans se sera ses si son sont sous sur ta tes tous tout
toute toutes très tu un une vers vos votre vous y à
"""
_SPANISH = """
al algo antes aquí así aunque bajo cada como con contra cual cuando de del desde donde dos
durante e el él ella ellas ellos en entre era eran es esa ese eso esta está están estas este
esto estos fue fueron ha había hace hacia han hasta hay la las le les lo los más me mi mientras
mismo muy nada ni no nos o otra otro para pero poco por porque pues que qué quien se sea según
ser si sí sin sobre son su sus también tan tiene toda todo todos tras tu un una uno unos y ya
"""
_RUSSIAN = """
а без бы был была были было быть в во вот все всё вы где да для до его её если есть ещё же за и
из или им их к как когда кто ли между мне мы на над не него нет ни но о об он она они оно от по
под при с со так также такой там то того тоже только у уже что чтобы эта эти это этот я
"""

STOP_WORDS = MappingProxyType(
    {
        "en": frozenset(_ENGLISH.split()),
        "de": frozenset(_GERMAN.split()),
        "fr": frozenset(_FRENCH.split()),
        "es": frozenset(_SPANISH.split()),
        "ru": frozenset(_RUSSIAN.split()),
    }
)
ALL_STOP_WORDS = frozenset[str]().union(*STOP_WORDS.values())
# Particles that end or begin a phrase but never a term.
STOP_HAN = frozenset(
    "的了是在和与及或也都而且为以于从到被把对由向其这那之不有就着过个一年月日等中很更最还它他她们我你"
)
