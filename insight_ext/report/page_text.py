"""The fixed words and the style sheet of the report."""

from __future__ import annotations

from insight_ext.report.measures import BIN_WIDTH, SMOOTHING

LIMITS = """
<ul>
<li><strong>What selection can gain depends on the pool.</strong> The pools of
<code>make train</code> are designed so that selection can matter: at the start a large share of the
prompts is solved nearly always and a large share never, and only the rest can teach. On a pool
where most prompts are of useful difficulty anyway, or one so large that no prompt is drawn twice,
plain belief-based selection has little or nothing to gain over random.</li>
<li>The baseline is random sampling without replacement with the same rollouts per step and the
same seeds. It is not a tuned curriculum and not a stronger selection method.</li>
<li>The models of <code>make train</code> are small and its tasks synthetic. Its curves say that
the whole road works and what selection does on it; they do not predict the gain on a large model
or another task.</li>
<li>A few seeds give a rough spread, not a significance test. Look at every seed's own line.</li>
<li>A share of mixed groups is not learning: repeating a few prompts keeps groups mixed and teaches
little. Judge by held-out accuracy, with the number of different prompts beside it.</li>
<li>Steps with more mixed groups have more to train on and can take longer. That is why accuracy
is shown against seconds too.</li>
</ul>
"""

DEFINITIONS = f"""
<dl>
<dt>Held-out accuracy</dt><dd>share of held-out prompts answered correctly (val_accuracy). Smoothed
means the mean of an evaluation and the {SMOOTHING - 1} before it; final accuracy is the smoothed
value of the last evaluation. Curves are drawn unsmoothed.</dd>
<dt>Steps, rollouts or seconds to the baseline's final accuracy</dt><dd>per seed: the effort at
which the arm's smoothed accuracy first reaches the baseline's final accuracy, linear between
evaluations, divided by the effort at which the baseline's own smoothed accuracy first reaches it.
Both by the same rule, so an early crossing by chance helps both. An arm that never gets there
counts with all it spent, marked &gt;, and the target as missed.</dd>
<dt>Mixed, solved, failed groups</dt><dd>a group is the rollouts of one prompt in one step: some,
all or none of them correct. The ratio is taken per seed over the steps that both runs have, and
the worst seed is judged.</dd>
<dt>Selection and observation</dt><dd>their summed milliseconds divided by the summed milliseconds
of the same steps, of all that were logged; evaluation is not in them.</dd>
<dt>Calibration</dt><dd>predictions in bins of width {BIN_WIDTH:g}, centred on 0, 0.1, ..., 1;
expected calibration error is the mean distance between a bin's mean prediction and its observed
success rate, weighted by groups. Only prompts seen before count.</dd>
<dt>Spread</dt><dd>± is one standard deviation over seeds (n - 1), and so is every band.</dd>
</dl>
"""

STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--muted:#59636e;--line:#dde2e7;
--met:#00684a;--missed:#a33b00;--none:#59636e}
@media(prefers-color-scheme:dark){:root{--paper:#15181c;--ink:#e8eaed;--muted:#9aa4af;
--line:#2b3138;--met:#2fc79a;--missed:#f08a3c;--none:#9aa4af}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,
"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:78rem;margin:0 auto;padding:1.2rem 1rem 4rem}
h1{font-size:1.7rem;line-height:1.2;margin:.5rem 0}
h2{font-size:1.2rem;margin:2.4rem 0 .6rem;padding-top:.8rem;border-top:1px solid var(--line)}
p,li,dd{max-width:46rem}
dt{font-weight:600;margin-top:.7rem}dd{margin:0}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.92rem}
th,td{text-align:left;vertical-align:top;padding:.4rem .9rem .4rem 0;font-weight:400}
thead th{color:var(--muted);font-size:.82rem}
tr.first>*{border-top:1px solid var(--line)}
tbody th{max-width:20rem}
td{font-variant-numeric:tabular-nums}
.verdict{font-weight:700}.met{color:var(--met)}.missed{color:var(--missed)}.not-measured{color:var(--none)}
.met::before{content:"\\2713\\a0"}.missed::before{content:"\\2717\\a0"}
.figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,21rem),1fr));gap:1.4rem}
figure{margin:0;max-width:30rem}figure img{width:100%;height:auto;display:block}
figcaption,.notes,.omitted{color:var(--muted);font-size:.88rem}
figcaption{margin-top:.3rem}
pre{overflow-x:auto;font-size:.8rem}
@media(max-width:40rem){
.compared thead{display:none}.compared :is(tbody,tr,th,td){display:block}
.compared tr{padding:.35rem 0}.compared tr.first{border-top:1px solid var(--line)}
.compared tr>*{border-top:0;padding:0}.compared th{font-weight:600;max-width:none}
.compared th+td,.compared .more td:first-child{color:var(--muted)}
}
"""
