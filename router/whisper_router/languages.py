"""The languages that Whisper models hear, and the spellings people use for them.

The table holds the codes and English names of the Whisper vocabulary (openai-whisper's tokenizer,
`g_lang` in whisper.cpp 1.8.5) in the order of their tokens; `yue` exists from large-v3 on.
"""

from collections.abc import Mapping
from types import MappingProxyType

_PAIRS = """
en english|zh chinese|de german|es spanish|ru russian|ko korean|fr french|ja japanese
pt portuguese|tr turkish|pl polish|ca catalan|nl dutch|ar arabic|sv swedish|it italian
id indonesian|hi hindi|fi finnish|vi vietnamese|he hebrew|uk ukrainian|el greek|ms malay
cs czech|ro romanian|da danish|hu hungarian|ta tamil|no norwegian|th thai|ur urdu
hr croatian|bg bulgarian|lt lithuanian|la latin|mi maori|ml malayalam|cy welsh|sk slovak
te telugu|fa persian|lv latvian|bn bengali|sr serbian|az azerbaijani|sl slovenian|kn kannada
et estonian|mk macedonian|br breton|eu basque|is icelandic|hy armenian|ne nepali|mn mongolian
bs bosnian|kk kazakh|sq albanian|sw swahili|gl galician|mr marathi|pa punjabi|si sinhala
km khmer|sn shona|yo yoruba|so somali|af afrikaans|oc occitan|ka georgian|be belarusian
tg tajik|sd sindhi|gu gujarati|am amharic|yi yiddish|lo lao|uz uzbek|fo faroese
ht haitian creole|ps pashto|tk turkmen|nn nynorsk|mt maltese|sa sanskrit|lb luxembourgish
my myanmar|bo tibetan|tl tagalog|mg malagasy|as assamese|tt tatar|haw hawaiian|ln lingala
ha hausa|ba bashkir|jw javanese|su sundanese|yue cantonese
"""

# Other English names (openai-whisper's TO_LANGUAGE_CODE), ISO 639-1 codes that Whisper spells
# differently, and the ISO 639-2/3 codes of languages in the table.
_OTHER_SPELLINGS = """
burmese my|valencian ca|flemish nl|haitian ht|letzeburgesch lb|pushto ps|panjabi pa|moldavian ro
moldovan ro|sinhalese si|castilian es|mandarin zh|nb no|jv jw|fil tl|iw he|in id|mo ro|ji yi
bokmål no|farsi fa|filipino tl
eng en|zho zh|chi zh|cmn zh|deu de|ger de|spa es|rus ru|kor ko|fra fr|fre fr|jpn ja|por pt|tur tr
pol pl|cat ca|nld nl|dut nl|ara ar|arb ar|swe sv|ita it|ind id|hin hi|fin fi|vie vi|heb he|ukr uk
ell el|gre el|msa ms|may ms|zsm ms|ces cs|cze cs|ron ro|rum ro|dan da|hun hu|tam ta|nor no|nob no
tha th|urd ur|hrv hr|bul bg|lit lt|lat la|mri mi|mao mi|mal ml|cym cy|wel cy|slk sk|slo sk|tel te
fas fa|per fa|pes fa|lav lv|lvs lv|ben bn|srp sr|aze az|azj az|slv sl|kan kn|est et|ekk et|mkd mk
mac mk|bre br|eus eu|baq eu|isl is|ice is|hye hy|arm hy|nep ne|npi ne|mon mn|khk mn|bos bs|kaz kk
sqi sq|alb sq|als sq|swa sw|swh sw|glg gl|mar mr|pan pa|sin si|khm km|sna sn|yor yo|som so|afr af
oci oc|kat ka|geo ka|bel be|tgk tg|snd sd|guj gu|amh am|yid yi|ydd yi|lao lo|uzb uz|uzn uz|fao fo
hat ht|pus ps|pbt ps|tuk tk|nno nn|mlt mt|san sa|ltz lb|mya my|bur my|bod bo|tib bo|tgl tl|mlg mg
plt mg|asm as|tat tt|lin ln|hau ha|bak ba|jav jw|sun su
"""


def _entries(table: str) -> list[str]:
    return table.strip().replace("\n", "|").split("|")


LANGUAGES: Mapping[str, str] = MappingProxyType(
    {code: name for code, _, name in (entry.partition(" ") for entry in _entries(_PAIRS))}
)
"""Code → lower-case English name, in the order of the vocabulary."""

_CODES: Mapping[str, str] = MappingProxyType(
    {name: code for code, name in LANGUAGES.items()}
    | {name: code for name, _, code in (e.rpartition(" ") for e in _entries(_OTHER_SPELLINGS))}
    | {code: code for code in LANGUAGES}
)


def language_code(text: str) -> str | None:
    """Return the code that `text` means, or None when it names no language of Whisper.

    Accepts codes, English names, three-letter ISO 639 codes and region tags (`pt-BR`, `zh_cn`),
    in any case. A region never changes the language, but `zh-HK` and `zh-yue` stay Chinese.
    """
    spelling = " ".join(text.strip().lower().split())
    if spelling in _CODES:
        return _CODES[spelling]
    return _CODES.get(spelling.replace("_", "-").partition("-")[0])
