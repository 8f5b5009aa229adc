"""A hook of the documentation: formulas become MathML, which browsers render by themselves.

The Markdown extension arithmatex marks `$...$` and `$$...$$`. Here each marked formula is translated from LaTeX to
MathML when the site is built, so that pages need no script and no request to another host.
"""

import html
import re

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError

_INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
_BLOCK = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)


def on_page_content(content: str, page, **_) -> str:
    """Replace every marked formula of a page.

    Raises:
        PluginError: for a formula that cannot be read; the build stops.
    """

    def mathml(found: re.Match, display: str) -> str:
        latex = html.unescape(found[1]).strip()
        try:
            return convert(latex, display=display)
        except Exception as error:
            raise PluginError(f"{page.file.src_uri}: cannot read the formula {latex!r}: {error!r}") from error

    content = _INLINE.sub(lambda found: mathml(found, "inline"), content)
    return _BLOCK.sub(lambda found: f'<div class="arithmatex">{mathml(found, "block")}</div>', content)
