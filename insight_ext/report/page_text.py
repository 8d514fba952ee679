"""The fixed words and the style sheet of the report."""

from __future__ import annotations

from insight_ext.report.measures import BIN_WIDTH, SMOOTHING

COMPARED = f"""
<dt>Steps, rollouts or seconds to the baseline's final accuracy</dt><dd>per seed: the effort at
which the arm's accuracy, each evaluation averaged with the {SMOOTHING - 1} before it, first reaches
the baseline's final accuracy, divided by the effort at which the baseline's own first does. Both by
the same rule, so an early crossing by chance helps both. An arm that never gets there counts with
all it spent, marked &gt;.</dd>
<dt>Multiples of mixed groups</dt><dd>per seed, over the steps that both runs have.</dd>
"""

DEFINITIONS = f"""
<dt>Held-out accuracy</dt><dd>share of held-out prompts answered correctly; drawn as it was
measured.</dd>
<dt>Final accuracy</dt><dd>the mean of the last {SMOOTHING} evaluations.</dd>
<dt>Mixed, solved, failed groups</dt><dd>a group is the answers to one prompt in one step: some, all
or none of them right.</dd>
<dt>Selection and observation</dt><dd>their summed milliseconds divided by the summed milliseconds
of the same steps, of all that were logged; evaluation is not in them.</dd>
<dt>Calibration</dt><dd>predictions in bins of width {BIN_WIDTH:g}, centred on 0, 0.1, ..., 1;
expected calibration error is the mean distance between a bin's mean prediction and its observed
success rate, weighted by groups. Only prompts seen before count.</dd>
"""

SPREAD = """
<dt>Spread</dt><dd>± and every band are one standard deviation over seeds (n - 1), the values of the
seeds are in brackets. A few seeds give a rough spread, not a significance test.</dd>
"""

STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--muted:#59636e;--line:#dde2e7}
@media(prefers-color-scheme:dark){:root{--paper:#15181c;--ink:#e8eaed;--muted:#9aa4af;
--line:#2b3138}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,
"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:78rem;margin:0 auto;padding:1.2rem 1rem 4rem}
h1{font-size:1.7rem;line-height:1.2;margin:.5rem 0;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:2.4rem 0 .6rem;padding-top:.8rem;border-top:1px solid var(--line)}
h3{font-size:1rem;margin:1.4rem 0 .3rem}
.result{font-size:1.1rem}
p,li,dd{max-width:46rem}
dt{font-weight:600;margin-top:.7rem}dd{margin:0}
.facts{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;font-size:.92rem}
.facts dt{margin:0;font-weight:400;color:var(--muted)}.facts dd{overflow-wrap:anywhere}
.numbers,.figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,21rem),1fr));
gap:1.4rem}
.numbers h3,.numbers p{margin:.2rem 0}.numbers tr:first-child>*{border:0}
.numbers th{width:10rem;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%;font-size:.92rem}
th,td{text-align:left;vertical-align:top;padding:.4rem .9rem .4rem 0;font-weight:400}
thead th{color:var(--muted);font-size:.82rem}
tbody tr>*{border-top:1px solid var(--line)}
td{font-variant-numeric:tabular-nums}
.prompts td{white-space:pre-wrap;overflow-wrap:anywhere;max-width:24rem}
figure{margin:0;max-width:30rem}figure img{width:100%;height:auto;display:block}
figcaption,.notes,.omitted{color:var(--muted);font-size:.88rem}
figcaption{margin-top:.3rem}
pre{overflow-x:auto;font-size:.8rem}
@media(max-width:40rem){
.facts{display:block}.facts dt{margin-top:.4rem}
.prompts thead{display:none}.prompts,.prompts :is(tbody,tr,td){display:block}
.prompts tr{border-top:1px solid var(--line);padding:.35rem 0}
.prompts td{border-top:0;padding:0;max-width:none}
.prompts td::before{content:attr(data-head) ": ";color:var(--muted)}
}
"""
