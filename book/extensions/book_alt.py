"""Sphinx extension: an output's own alt text reaches its page.

`wlib.plot.show` puts the finding of a figure into the metadata of its output, where the numbers are
known. MyST-NB reads alt text from the cell's metadata alone, which is written before the run.
"""

from __future__ import annotations

from typing import Any

import docutils.nodes
from myst_nb.core.render import NbElementRenderer


def with_alt(render_image: Any) -> Any:
    """MyST-NB's image renderer, taking the alt text of the output where it has one."""

    def render(self: NbElementRenderer, data: Any) -> list[Any]:
        nodes = render_image(self, data)
        text = data.output_metadata.get("alt")
        for node in nodes if text else []:  # an image, or a figure around it
            for image in node.findall(docutils.nodes.image):
                image["alt"] = str(text)
        return nodes

    render.takes_alt = True
    return render


def setup(app: Any) -> dict[str, bool]:
    """Wrap the renderer once per process, however many books it builds."""
    if not hasattr(NbElementRenderer.render_image, "takes_alt"):
        NbElementRenderer.render_image = with_alt(NbElementRenderer.render_image)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
