-- A design that explores formats with a stem, too. Committed, since only then its worker begins.
\ir include/helpers.sql
SET client_min_messages = warning;
SELECT no_plan();

\set script :models '/small-cnn-script.pt'
\set linear :models '/linear-script.pt'

SELECT complains(format('SELECT ic_design(''pictures'', %L, label_column => ''label'', storage => 1000, size => 24, stem => ''auto'')', :'linear'),
                 '22023', 'the model''s first convolution cannot be replaced by a stem: it has none', '%stem => ''none''%',
                 'a model without a convolution cannot have a stem');
SELECT ic_design('pictures', :'script', label_column => 'label', split_column => 'split', storage => 100, size => 64, epochs => 5,
                 transfer_epochs => 2, buckets => 3, sampled_buckets => 3, trials_per_bucket => 3, stem => 'auto', name => 'stemmed') AS id \gset
CALL ic_wait(:id);
SELECT is(state, 'done', 'it ends well') FROM ic_designs WHERE id = :id;

SELECT is(count(*) FILTER (WHERE NOT stem), 6048::bigint, 'every format is a candidate') FROM ic_candidates(:id);
SELECT is(count(*) FILTER (WHERE stem), count(*) FILTER (WHERE NOT stem AND split_part(format, '/', 3) <> 'k1'),
          'those of more than one coefficient a block twice') FROM ic_candidates(:id);
SELECT ok(bool_and(p.bytes = s.bytes), 'a stem changes nothing that is stored')
FROM ic_candidates(:id) AS p JOIN ic_candidates(:id) AS s USING (format) WHERE s.stem AND NOT p.stem;
SELECT ok(avg(s.model_us) < 0.8 * avg(p.model_us), 'the model costs less: behind a large stem maps are small')
FROM ic_candidates(:id) AS p JOIN ic_candidates(:id) AS s USING (format) WHERE s.stem AND NOT p.stem AND format ~ '/k(16|32|64)/';
SELECT ok(count(*) BETWEEN 3 AND 12, 'measured on a grid of its own') FROM ic_candidates(:id) WHERE stem AND latency_measured;

CREATE TEMP VIEW trials AS SELECT *, split_part(format, '/', 2) AS block FROM ic_trials(:id);
SELECT ok(bool_or(stem) AND bool_or(NOT stem), 'both are trained') FROM trials;
SELECT ok(bool_and(t.stem = p.stem AND t.block = p.block), 'weights are handed down among those with a stem, and those without')
FROM trials AS t JOIN trials AS p ON p.trial = t.parent;
SELECT ok(d.stem = t.stem AND d.format = t.format AND d.accuracy = t.accuracy, 'the design tells which was chosen')
FROM ic_designs AS d, trials AS t, imagecalc.design AS c WHERE d.id = :id AND c.id = :id AND t.trial = c.chosen;
SELECT ok(bool_and(accuracy BETWEEN 0 AND 1) AND count(DISTINCT stem) = 2, 'both are predicted') FROM ic_explore(:id);

-- ---- the model is one as any other
SELECT ok(abs(e.accuracy - d.accuracy) < 0.02, 'it classifies as well as the trial did')
FROM ic_evaluate('stemmed', 'pictures', image_column => 'jpeg', label_column => 'label', condition => $$split = 'validation'$$) AS e,
     ic_designs AS d WHERE d.id = :id AND e.label IS NULL;
SELECT matches(ic_report(:id), '\+ stem', 'the report names them');

SELECT * FROM finish();
