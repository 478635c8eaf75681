"""The record as one page for people: self-contained, no script, nothing fetched."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from mrcli.io.atomic import write_text_atomically
from mrcli.tasks.adapt_pictures import Picture

PAGE = "index.html"

_TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Adapter for {{ site }}</title>
<style>
body{font:15px/1.45 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:.6rem 0}td,th{padding:.2rem .7rem;text-align:right;
border-bottom:1px solid #ddd}th:first-child,td:first-child{text-align:left}
.yes{color:#176c2e}.no{color:#a11}img{max-width:100%}code{font-size:.85em;word-break:break-all}
</style></head><body>
<h1>Adapter for {{ site }}</h1>
<p><strong class="{{ 'yes' if verdict.accepted else 'no' }}">
{{ 'Accepted' if verdict.accepted else 'Not accepted: no adapter was written' }}</strong>:
{{ verdict.reason }}.</p>
{% if verdict.n_needed and not verdict.accepted %}<p>With gains like these a verdict needs about
{{ verdict.n_needed }} patients.</p>{% endif %}
{% if verdict.mean_db is not none %}<table><tr><th>patients</th><th>mean gain, dB</th>
<th>95 % interval</th><th>worst scan, dB</th></tr><tr><td>{{ verdict.n_patients }}</td>
<td>{{ '%+.3f' | format(verdict.mean_db) }}</td>
<td>{{ '%+.3f' | format(verdict.ci95_db[0]) }} to {{ '%+.3f' | format(verdict.ci95_db[1]) }}</td>
<td>{{ '%+.3f' | format(verdict.worst_db) }}</td></tr></table>{% endif %}
<p>Each patient is judged by an adapter that has not seen it. The gain is in decibels of
{{ protocol.measures.values() | join('; or of ') }}.
Without the adapter this site uses: {{ protocol.baseline | join('; ') }}.</p>
<h2>Fixed beforehand</h2>
<p>Lowest gain {{ limits.min_gain_db }} dB below the interval of {{ 100 * limits.confidence }} %,
largest loss of a scan {{ limits.max_worst_loss_db }} dB; seed {{ protocol.settings.seed }};
model <code>{{ protocol.model.backbone_sha256 }}</code>.</p>
<h2>Per protocol and sampling</h2>
<table><tr><th>protocol</th><th>sampling</th><th>n</th><th>mean gain, dB</th><th>worst, dB</th>
<th>over the classical twin, dB</th></tr>
{% for row in groups %}<tr><td>{{ row.protocol }}</td><td>{{ row.condition }}</td>
<td>{{ row.n }}</td><td>{{ '%+.3f' | format(row.mean_gain_db) }}</td>
<td>{{ '%+.3f' | format(row.worst_gain_db) }}</td>
<td>{{ '%+.2f' | format(row.mean_gain_over_classical_db) }}</td></tr>{% endfor %}</table>
<h2>Per scan</h2>
<table><tr><th>scan</th><th>patient</th><th>sampling</th><th>judged by</th><th>before, dB</th>
<th>after, dB</th><th>gain, dB</th></tr>
{% for row in scores %}<tr><td>{{ row.scan }}</td><td>{{ row.patient }}</td>
<td>{{ row.condition }}</td><td>{{ row.measure }}</td>
<td>{{ '%.2f' | format(row.baseline_db) }}</td><td>{{ '%.2f' | format(row.candidate_db) }}</td>
<td>{{ '%+.3f' | format(row.gain_db) }}</td></tr>{% endfor %}</table>
<h2>What it does</h2>
{% for picture in pictures %}<h3>{{ picture.title }}</h3>
<img alt="{{ picture.title }}" src="data:image/png;base64,{{ picture.png_base64 }}">{% endfor %}
{% if findings %}<h2>Noticed</h2><ul>{% for one in findings %}<li>{{ one.message }}:
{{ one.remedy }}</li>{% endfor %}</ul>{% endif %}
<p>For research, not for diagnosis. This record claims no compliance with any rule.</p>
</body></html>
"""


def write_page(
    folder: Path,
    site: str,
    protocol: Mapping[str, Any],
    impact: Mapping[str, Any],
    pictures: Sequence[Picture],
    findings: Sequence[Mapping[str, object]],
) -> None:
    """Write the page, whole or not at all."""
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    text = environment.from_string(_TEMPLATE).render(
        site=site,
        protocol=protocol,
        limits=protocol["settings"]["limits"],
        verdict=impact["verdict"],
        groups=impact["groups"],
        scores=impact["scores"],
        pictures=pictures,
        findings=findings,
    )
    write_text_atomically(folder / PAGE, text, overwrite=True)
