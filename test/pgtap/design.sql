-- Designs on real pictures with a real model. Each is committed, since only then its worker begins: no transaction around.
\ir include/helpers.sql
SET client_min_messages = warning;
SELECT no_plan();

\set script :models '/small-cnn-script.pt'
SELECT array_agg(DISTINCT label ORDER BY label) AS labels FROM pictures \gset
SELECT count(*) FILTER (WHERE split = 'train') AS training, count(*) FILTER (WHERE split = 'validation') AS validation
FROM pictures \gset
SELECT max(share) AS chance FROM (SELECT count(*) / sum(count(*)) OVER () AS share FROM pictures WHERE split = 'validation'
                                  GROUP BY label) AS s \gset
CREATE TABLE original AS TABLE pictures;

-- ---- all pictures, within budgets of latency and storage

SELECT ic_design('pictures', :'script', label_column => 'label', split_column => 'split', latency => '20ms', storage => 120,
                 size => 64, epochs => 5, transfer_epochs => 2, buckets => 3, sampled_buckets => 3,
                 trials_per_bucket => 2) AS id \gset
SELECT is(state IN ('queued', 'running'), true, 'a design begins when its transaction commits') FROM ic_progress
WHERE design = :id;
CALL ic_wait(:id);

SELECT is(state, 'done', 'its state is done') FROM ic_progress WHERE design = :id;
SELECT is(ROW(relation, owner, model, training_images, validation_images, rejected_images, error)::text,
          ROW('public.pictures', current_user, format('pictures_%s', id), :training, :validation, 0, NULL)::text,
          'ic_designs tells whose it is, of what, and how many pictures it used') FROM ic_designs WHERE id = :id;
SELECT ok(latency_us <= 20000 AND bytes <= 120, 'the chosen format is within the budgets') FROM ic_designs WHERE id = :id;
SELECT ok(created_at <= started_at AND started_at < finished_at, 'times are in order') FROM ic_designs WHERE id = :id;
SELECT ok(jpeg_bytes BETWEEN 0.5 * mean AND 2 * mean AND rgb_latency_us > 0, 'and what the JPEG files cost is known, too')
FROM ic_designs, (SELECT avg(octet_length(jpeg)) AS mean FROM original) AS o WHERE id = :id;

-- trials
SELECT count(*) AS trials, count(*) FILTER (WHERE kind <> 'final') AS explored FROM ic_trials(:id) \gset
CREATE TEMP VIEW blocks AS
SELECT *, split_part(format, '/', 2) AS block, row_number() OVER (PARTITION BY split_part(format, '/', 2) ORDER BY trial) = 1 AS is_first
FROM ic_trials(:id);
CREATE TEMP VIEW tried AS
SELECT t.format, t.accuracy, c.latency_us, c.bytes FROM ic_trials(:id) AS t JOIN ic_candidates(:id) AS c USING (format, stem)
WHERE t.kind <> 'final' AND NOT t.stopped;
SELECT is(array_agg(kind ORDER BY trial),
          array_agg(CASE WHEN trial > :explored THEN 'final' WHEN is_first THEN 'scratch' ELSE 'transfer' END ORDER BY trial),
          'the first of a block size is from scratch, the finalists come last') FROM blocks;
SELECT ok(:explored BETWEEN 6 AND 12 AND :trials - :explored BETWEEN 1 AND 2, 'two trials a bucket, what promises most, one or two finalists');
SELECT is(array_agg(trial ORDER BY finished_at), array_agg(n ORDER BY n), 'trials are numbered as they were run')
FROM ic_trials(:id) AS t JOIN generate_series(1, :trials) AS n ON n = t.trial;
SELECT ok(bool_and(accuracy BETWEEN 0 AND 1 AND loss > 0 AND seconds > 0), 'each tells its accuracy, loss and time')
FROM ic_trials(:id);
SELECT ok(bool_and(CASE kind WHEN 'transfer' THEN parent < trial ELSE parent IS NULL END), 'weights are handed down to transfers, from earlier trials')
FROM ic_trials(:id);
SELECT ok(bool_and(t.block = p.block AND NOT p.stopped), 'of the same block size') FROM blocks AS t JOIN blocks AS p ON p.trial = t.parent;
SELECT ok(bool_and(epochs = CASE WHEN kind <> 'transfer' THEN 5 WHEN stopped THEN 1 ELSE 2 END) AND NOT bool_or(stopped AND kind <> 'transfer'),
          'each has its epochs, or stops after half of them') FROM ic_trials(:id);
SELECT is(array_agg(f.format ORDER BY f.trial),
          (SELECT (array_agg(format ORDER BY accuracy DESC, latency_us, bytes))[:(:trials - :explored)] FROM tried), 'the best ones are finalists')
FROM ic_trials(:id) AS f WHERE f.kind = 'final';
SELECT ok(d.accuracy = max(f.accuracy), 'the better one was chosen')
FROM ic_designs AS d, ic_trials(:id) AS f WHERE d.id = :id AND f.kind = 'final' GROUP BY d.accuracy;
SELECT is(count(*)::integer, :explored, 'no format is tried twice')
FROM (SELECT DISTINCT format FROM ic_trials(:id) WHERE kind <> 'final') AS tried;
SELECT is(count(*)::integer, :trials - :explored + 3, 'of the weights, the finalists'' and one a bucket are kept')
FROM imagecalc.weights WHERE design = :id;

-- what-if
CREATE TEMP TABLE explored AS SELECT * FROM ic_explore(:id);
CREATE TEMP TABLE predicted AS
SELECT *, fetch_us::text::float8 + decode_us::text::float8 + transfer_us::text::float8 + model_us::text::float8 AS latency
FROM imagecalc.predictions(:id) WHERE accuracy IS NOT NULL;
SELECT ok(count(*) > 100 AND count(*) = count(DISTINCT format), 'each format within the budgets is predicted, once')
FROM explored;
SELECT ok(bool_and(latency_us <= 20000 AND bytes <= 120), 'and no other') FROM explored;
SELECT ok(bool_and(accuracy BETWEEN 0 AND 1 AND accuracy_low <= accuracy AND accuracy <= accuracy_high AND latency_us > 0
                   AND bytes > 24),
          'predictions are between 0 and 1, and within their ranges') FROM explored;
SELECT results_eq('SELECT format FROM explored WHERE measured ORDER BY 1',
                  format('SELECT DISTINCT format FROM ic_trials(%s) WHERE NOT stopped ORDER BY 1', :id),
                  'those that were trained are marked as measured');
SELECT ok(bool_and(e.accuracy = t.accuracy AND e.accuracy_low = e.accuracy AND e.accuracy_high = e.accuracy),
          'with the accuracy that their last trial had')
FROM explored AS e, LATERAL (SELECT accuracy FROM ic_trials(:id) AS t WHERE t.format = e.format
                             ORDER BY trial DESC LIMIT 1) AS t
WHERE e.measured;
SELECT ok(bool_and(latency_us BETWEEN 0.999 * latency AND 1.001 * latency), 'latency is the sum of its components')
FROM predicted;
SELECT ok(count(*) BETWEEN 1 AND 12, 'a few tensor sizes were measured, the others are fitted') FROM predicted
WHERE latency_measured;
SELECT set_eq(format('SELECT format FROM ic_explore(%s, storage => 60, min_accuracy => 0.4)', :id),
              'SELECT format FROM explored WHERE bytes <= 60 AND accuracy >= 0.4::real', 'ic_explore takes other budgets');
SELECT ok(bool_and(later IS NULL OR accuracy >= later), 'and puts the most accurate first')
FROM (SELECT accuracy, lead(accuracy) OVER (ORDER BY place) AS later
      FROM ic_explore(:id) WITH ORDINALITY AS e(format, stem, accuracy, low, high, measured, latency_us, bytes, place)) AS o;
SELECT is_empty(format('SELECT * FROM ic_explore(%s, latency => ''0.000001'')', :id), 'even ones that nothing meets');
SELECT set_eq('SELECT format, accuracy, accuracy_low, accuracy_high, measured, latency_us, bytes FROM explored',
              'SELECT format, accuracy, accuracy_low, accuracy_high, measured, latency_us, bytes FROM predicted', 'it tells what is predicted now');
SELECT results_eq(format('SELECT accuracy, latency_us, bytes FROM ic_explore(%s)', :id),
                  'SELECT accuracy, latency_us, bytes FROM explored ORDER BY accuracy DESC, latency_us, bytes', 'in its order');

-- bytes are those of values
SELECT ok(abs(mean - bytes) < 0.3 * bytes + 10,
          format('%s takes about as many bytes as predicted: %s for %s', format, mean, bytes))
FROM (SELECT d.format, d.bytes, avg(octet_length(icimage_send(ic_encode(o.jpeg, d.format)))) AS mean
      FROM ic_designs AS d, (SELECT * FROM original WHERE id % 10 = 0) AS o WHERE d.id = :id
      GROUP BY d.format, d.bytes) AS m;

-- the frontier
CREATE TEMP TABLE frontier AS SELECT * FROM predicted WHERE on_frontier;
SELECT set_eq(format('SELECT format FROM ic_frontier(%s)', :id), 'SELECT format FROM frontier',
              'ic_frontier shows the frontier');
SELECT is_empty($$SELECT f.format, p.format FROM frontier AS f, predicted AS p
                  WHERE p.accuracy >= f.accuracy AND p.latency <= f.latency
                      AND p.bytes::text::float8 <= f.bytes::text::float8
                        AND (p.accuracy > f.accuracy OR p.latency < f.latency OR p.bytes < f.bytes)$$,
                'no format is better than one of it');
SELECT is_empty($$SELECT p.format FROM predicted AS p
                  WHERE NOT on_frontier AND NOT EXISTS (
                      SELECT FROM frontier AS f WHERE f.accuracy >= p.accuracy AND f.latency <= p.latency
                          AND f.bytes <= p.bytes)$$,
                'and for all others there is one in it');

-- all candidates
CREATE TEMP TABLE candidates AS SELECT * FROM ic_candidates(:id);
SELECT is(count(*)::integer, 6048, 'ic_candidates shows the whole space') FROM candidates;
SELECT set_eq('SELECT format, accuracy, accuracy_low, accuracy_high, measured, latency_us, bytes FROM candidates WHERE accuracy IS NOT NULL',
              'SELECT format, accuracy, accuracy_low, accuracy_high, measured, latency_us, bytes FROM explored',
              'with the accuracies of those that may be chosen');
SELECT ok(bool_and(bytes_deviation >= 0 AND latency_us > 0 AND refusal IS NULL), 'what they cost, and no refusal') FROM candidates;
SELECT ok(bool_and(abs(c.saved_bytes - (SELECT count(*) FROM original) * (d.jpeg_bytes - c.bytes)) < 0.02 * abs(c.saved_bytes) + 1000
                   AND abs(c.saved_seconds_a_million - (d.rgb_latency_us - c.latency_us)) < 1 + 0.001 * c.latency_us),
          'and what they save') FROM candidates AS c, ic_designs AS d WHERE d.id = :id;
SELECT ok(abs(d.saved_bytes - c.saved_bytes) < 1000 AND abs(d.saved_seconds_a_million - c.saved_seconds_a_million) < 1
              AND abs(d.pictures - (SELECT count(*) FROM original)) < 0.1 * d.pictures AND abs(d.conversion_seconds - d.pictures * i.encode_us / 1e6) < 0.01 * d.conversion_seconds,
          'so does the design of the chosen one, and what converting takes')
FROM ic_designs AS d JOIN candidates AS c USING (format) JOIN imagecalc.design AS i USING (id) WHERE d.id = :id;

SELECT ok(bool_and(abs(single_latency_us - latency_us) <= 0.001 * latency_us), 'a working batch of 1 costs what one image does')
FROM candidates;

-- plots
SELECT ok(ic_plot(:id, kind)::xml IS DOCUMENT, format('the plot of %s is a drawing', kind))
FROM unnest('{latency,storage,buckets,components}'::text[]) AS kind;
SELECT ok(ic_plot(:id) LIKE format('%%>%s</text>%%', format), 'in which the chosen format stands') FROM ic_designs WHERE id = :id;
SELECT complains(current_user, format('SELECT ic_plot(%s, ''colour'')', :id), '22023', 'there is no plot of kind "colour"',
                 '%latency, storage, buckets or components%', 'and there is no other kind');

-- the report
SELECT ic_report(:id) AS report \gset
SELECT ok(:'report' LIKE '<!DOCTYPE html>%</html>_' AND :'report' LIKE format('%%<td class=''number''>%s</td>%%', format),
          'the report is a page that names the chosen format') FROM ic_designs WHERE id = :id;
SELECT is((SELECT count(*)::integer FROM regexp_matches(:'report', 'data:image/jpeg;base64,', 'g')) % 3, 0,
          'with three pictures of the table, as they are and rebuilt');
SELECT ok(:'report' LIKE '%data:image/jpeg;base64,%' AND :'report' !~ '(src|href)=.https?:', 'and asks for nothing of elsewhere');
SELECT is((SELECT count(*) FROM explored), (SELECT count(*) FROM regexp_matches(:'report', E'\n\\["[^"]*@64",', 'g')),
          'it has all formats that may be chosen');

-- converting and classifying
SELECT is(input, d.format, 'the model reads the chosen format') FROM ic_models AS m, ic_designs AS d
WHERE d.id = :id AND m.name = d.model AND m.design = d.id AND m.labels = :'labels'::text[];
SELECT ok(coalesce(abs(m.bf16_accuracy_loss - (t.accuracy - t.bf16_accuracy)) < 1e-6,
                   NOT ('openvino' = ANY (r.engines) AND pg_read_file('/proc/cpuinfo') ~ '\mavx512_bf16\M')),
          'and knows what bfloat16 costs it, where the machine has that')
FROM ic_models AS m, imagecalc.trial AS t, ic_stat_runner AS r WHERE m.design = :id AND t.design = :id AND t.number = (SELECT chosen FROM imagecalc.design WHERE id = :id)
    AND m.input NOT LIKE 'rgb@%';
SELECT ddl FROM ic_designs WHERE id = :id \gexec
SELECT is(format_type(atttypid, atttypmod), format('icimage(%L)', format), 'the DDL converts the column')
FROM ic_designs, pg_attribute
WHERE id = :id AND attrelid = 'pictures'::regclass AND attname = 'jpeg';
SELECT is(reloptions::text, '{toast_tuple_target=8160}', 'whose values stay in line') FROM pg_class
WHERE oid = 'pictures'::regclass;
SELECT ok(avg(pg_column_size(p.jpeg)) < 160 AND sum(pg_column_size(p.jpeg)) < 0.2 * sum(octet_length(o.jpeg)),
          'and takes a small part of the space') FROM pictures AS p JOIN original AS o USING (id);
CREATE TEMP TABLE answer AS
SELECT p.label, ic_infer(d.model, p.jpeg) AS said, ic_infer(d.model, o.jpeg) AS of_jpeg
FROM pictures AS p JOIN original AS o USING (id), ic_designs AS d WHERE d.id = :id AND p.split = 'validation';
SELECT ok(avg((said = label)::integer) > 1.5 * :chance,
          format('ic_infer is right for %s %% of the validation rows, chance for %s %%',
          round(100 * avg((said = label)::integer)), round(100 * :chance))) FROM answer;
SELECT ok(abs(avg((said = label)::integer) - max(d.accuracy)) < 0.05, 'as often as the design said, but for rounding')
FROM answer, ic_designs AS d WHERE d.id = :id;
SELECT ok(bool_and(said = of_jpeg), 'a picture gets the label that its value gets') FROM answer;

SELECT complains(format('SELECT ic_resume(%s)', :id), '22023', format('design %s is done', :id), '%ic_designs%',
                 'no more is to be done');
SELECT lives_ok(format('SELECT ic_cancel(%s)', :id), 'cancelling it is of no effect');
SELECT is(state, 'done', 'and changes nothing') FROM ic_designs WHERE id = :id;
SELECT complains('SELECT ic_design(''pictures'', ''m'', storage => 100, label_column => ''label'')', '22023',
                 'column "jpeg" is icimage already', '%JPEG files%', 'a converted column has no pictures to design on');

-- ---- an imported model, held-out pictures at random, a loss against RGB; some pictures are damaged, some rows incomplete

CREATE TABLE mixed AS SELECT id, jpeg, label FROM original WHERE id % 6 = 0;
SELECT count(*) AS rows, count(*) FILTER (WHERE id % 60 = 0) AS cut FROM mixed \gset
UPDATE mixed SET jpeg = substr(jpeg, 1, octet_length(jpeg) / 2) WHERE id % 60 = 0;
UPDATE mixed SET jpeg = 'no picture' WHERE id = 6;
INSERT INTO mixed SELECT -id, NULL, label FROM mixed WHERE id < 60;
INSERT INTO mixed SELECT -1, jpeg, NULL FROM mixed WHERE id = 12;
SELECT ic_import_model('start', :'script', labels => :'labels', input => 'rgb@32') \g /dev/null
SELECT ic_design('mixed', 'start', max_accuracy_loss => 0.95, storage => 80, size => 32, epochs => 2, transfer_epochs => 1,
                 buckets => 2, sampled_buckets => 2, trials_per_bucket => 1, validation => 0.3, name => 'small',
                 schedule => 'constant', learning_rate => 0.01) AS id \gset
CALL ic_wait(:id);
SELECT is(ROW(state, rejected_images, training_images + validation_images)::text,
          ROW('done', :cut + 1, :rows - :cut - 1)::text,
          'pictures that cannot be read are counted and left out') FROM ic_designs WHERE id = :id;
SELECT ok(validation_images BETWEEN 0.1 * training_images AND 0.8 * training_images, 'about the asked-for part is held out')
FROM ic_designs WHERE id = :id;
SELECT ok(array_to_string(array_agg(kind ORDER BY trial), ' ') ~ '^reference scratch ((transfer|scratch) )+final( final)?$',
          'the loss is measured against a training on RGB')
FROM ic_trials(:id);
SELECT is(array_agg(name || ' ' || (input = 'rgb@32') ORDER BY name), '{small false,small_rgb true}',
          'whose model is registered, too')
FROM ic_models WHERE design = :id;
SELECT ok(accuracy >= rgb_accuracy - 0.95 AND rgb_accuracy = (SELECT accuracy FROM ic_trials(:id) WHERE trial = 1),
          'ic_designs tells both')
FROM ic_designs WHERE id = :id;
SELECT is(count(*)::integer, 5, 'both models classify') FROM (SELECT * FROM mixed WHERE id BETWEEN 12 AND 36) AS m
WHERE ic_infer('small', jpeg) = ANY (:'labels'::text[]) AND ic_infer('small_rgb', jpeg) = ANY (:'labels'::text[]);
SELECT ok(latency_us <= 1.001 * (SELECT min(latency_us) FROM ic_explore(:id) WHERE measured),
          'the fastest that was tried was chosen')
FROM ic_designs WHERE id = :id;

SELECT * FROM finish();
