# Queries generated at random, batched against row by row: the same rows, in the same order, or the same error. Only the
# node differs between the two, since plans are rewritten when they are finished; so without workers even the order of
# queries without ORDER BY must be the same.
#
# IMAGECALC_SEED and IMAGECALC_QUERIES change what is generated, IMAGECALC_SECONDS how long that may take; a query that fails is
# shown with its settings.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use ImagecalcServer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $seed = $ENV{IMAGECALC_SEED} // 20240611;
my $wanted = $ENV{IMAGECALC_QUERIES} // 300;
my $longest = $ENV{IMAGECALC_SECONDS} // 60;
srand($seed);
note("seed $seed, $wanted queries");

my $node = start_server('generated', jit => 'off', max_worker_processes => 16);    # forbidden join methods look dear enough for JIT
my $models = $ENV{IMAGECALC_MODELS};
my $labels = cnn_labels();
my ($first_label, $second_label) = $labels =~ /^\{(\w+),(\w+)/;
load_pictures($node, 'postgres', 4);
$node->safe_psql('postgres', <<"END");
SELECT ic_import_model('linear', '$models/linear-script.pt', labels => '$labels', input => '1x1/b8/k3/q20\@64');
SELECT ic_import_model('cnn', '$models/small-cnn-script.pt', labels => '$labels', input => '1x1/b8/k3/q20\@64');
SELECT ic_import_model('rgb', '$models/small-cnn-frozen.pt', labels => '$labels', input => 'rgb\@64');
CREATE TABLE images AS SELECT id, label, jpeg, jpeg::icimage('1x1/b8/k3/q20\@64') AS image, (id % 4)::int AS k, NULL::text AS said
FROM pictures;
INSERT INTO images (id, label) VALUES (90, 'none');
UPDATE images SET k = NULL WHERE k = 0;
ALTER TABLE images ADD PRIMARY KEY (id);
-- one spoilt row each: which of several errors comes first depends on how far the rows below a node have been read
CREATE TABLE other_format AS TABLE images;
ALTER TABLE other_format ALTER image TYPE icimage;
UPDATE other_format SET image = jpeg::icimage('1x1/b8/k2/q20\@64') WHERE id = 9;
CREATE TABLE damaged AS TABLE images;
UPDATE damaged SET jpeg = substr(jpeg, 1, 300) WHERE id = 6;
CREATE TABLE no_labels AS TABLE images;
UPDATE no_labels SET k = 0 WHERE id = 13;
CREATE TABLE parted (id bigint, label text, jpeg bytea, image icimage, k int, said text) PARTITION BY RANGE (id);
CREATE TABLE parted_low PARTITION OF parted FOR VALUES FROM (0) TO (7);
CREATE TABLE parted_high PARTITION OF parted FOR VALUES FROM (7) TO (10000);
INSERT INTO parted TABLE images;
CREATE VIEW guarded WITH (security_barrier) AS SELECT * FROM images WHERE id % 3 <> 0;
CREATE TABLE wanted AS SELECT DISTINCT label FROM pictures ORDER BY label LIMIT 2;
ANALYZE;
END

# ---- the grammar. `f` is a row with the columns of images.

my $images;    # the table that this query reads

sub pick { return $_[int rand @_]; }
sub chance { return rand() < $_[0]; }

sub call
{
  return pick("ic_infer('linear', f.image)", "ic_infer('linear', f.image)", "ic_infer('cnn', f.image)", "ic_infer('rgb', f.jpeg)",
    "ic_infer('linear', f.jpeg)", "ic_infer('linear', f.jpeg::icimage('1x1/b8/k3/q20\@64'))");
}

sub value
{
  my $call = call();
  return pick(
    $call, $call, "$call || f.id", "coalesce($call, '-')", "nullif($call, f.label)", "($call = f.label)::text",
    "((ic_scores('linear', f.image))[1] > 0.3)::text", "CASE WHEN f.id % 3 = 0 THEN $call ELSE 'other' END",
    "CASE $call WHEN '$first_label' THEN 'first' ELSE f.label END",
    "(SELECT count(*) FROM wanted v WHERE v.label = $call)::text",
    "(SELECT string_agg(t.label, ',') FROM ic_topk('linear', f.image, 2) t)", "f.label");
}

sub condition
{
  my ($depth) = @_;
  $depth //= 0;
  my $call = call();
  if ($depth < 2 && chance(0.4))
  {
    my ($left, $right) = (condition($depth + 1), condition($depth + 1));
    return pick("$left AND $right", "$left AND $right", "($left OR $right)", "NOT ($left)");
  }
  return pick(
    'true', 'f.id % 2 = 0', 'f.id < 11', "$call <> 'x'", "$call = '$first_label'", "$call IS NOT NULL", "$call > f.label",
    "$call = ANY (ARRAY['$first_label', '$second_label'])", "$call IN (SELECT label FROM wanted)",
    "EXISTS (SELECT FROM wanted v WHERE v.label = $call)", "NOT EXISTS (SELECT FROM wanted v WHERE v.label = $call)",
    "(ic_scores('linear', f.image))[2] < 0.9");
}

sub topk { return "ic_topk('" . pick('linear', 'cnn') . "', f.image, " . pick(1, 2, 2, 'f.k') . ')'; }

sub source
{
  my ($depth) = @_;
  $depth //= 0;
  my $table = pick($images, $images, $images, 'parted', 'guarded');
  my $call = call();
  if ($depth < 2 && chance(0.25))
  {
    my ($inner, $condition) = (source($depth + 1), condition(1));
    my $rows = "SELECT f.* FROM $inner WHERE $condition";
    my $named = "SELECT f.*, $call AS guess FROM $inner WHERE $condition";
    return pick("($rows) f", "($rows ORDER BY f.id, f.label OFFSET 1) f", "($rows ORDER BY f.id DESC, f.label LIMIT 9) f",
      "(SELECT DISTINCT ON (f.id) f.* FROM $inner WHERE $condition ORDER BY f.id) f", "($named OFFSET 0) f",
      "(WITH c AS MATERIALIZED ($rows) SELECT * FROM c) f", "($rows UNION ALL SELECT * FROM $table f WHERE f.id > 12) f",
      "(SELECT * FROM ($named) s WHERE s.guess <> '$second_label') f");
  }
  my $condition = condition(1);
  return pick(
    ("$table f") x 5,
    "$table f JOIN wanted w ON w.label = f.label",
    "$table f JOIN wanted w ON w.label = $call",
    "$table f LEFT JOIN wanted w ON w.label = $call",
    "$table f FULL JOIN wanted w ON w.label = $call",
    "wanted w LEFT JOIN $table f ON w.label = $call AND f.id < 11",
    "$table f JOIN wanted w ON w.label <> $call AND f.id % 5 = 0",
    "$table f JOIN images g ON g.id = f.id AND ic_infer('cnn', g.image) <> '$second_label'",
    "$table f JOIN images g ON g.label = $call AND g.id = f.id + 1",
    "$table f CROSS JOIN generate_series(1, 2) n",
    "$table f, LATERAL " . topk() . ' t',
    "$table f LEFT JOIN LATERAL " . topk() . ' t ON t.label <> f.label',
    "$table f, LATERAL " . topk() . ' t, LATERAL ' . topk() . ' u',
    "$table f, LATERAL (SELECT label AS best FROM " . topk() . ' ORDER BY label LIMIT 1) t',
    "$table f, LATERAL (SELECT $call AS guess OFFSET 0) l",
    "$table f, LATERAL (SELECT g.id AS other FROM images g WHERE g.label = $call ORDER BY g.id LIMIT 2) l",
    "$table f JOIN (SELECT id, ic_infer('linear', image) AS guess FROM images) s ON s.id = f.id AND s.guess <> f.label",
    "$table f JOIN LATERAL (SELECT $call AS guess WHERE $condition OFFSET 0) l ON true");
}

# ORDER BY all columns, so that the order is total; LIMIT behind it, or where rows come in one order anyway.
sub rest
{
  my ($columns, $parallel) = @_;
  my $order = 'ORDER BY ' . join(', ', 1 .. $columns);
  my $limit = 'LIMIT ' . pick(0, 1, 3, 7) . pick('', '', ' OFFSET ' . pick(1, 5));
  return pick('', '', $order, "$order DESC", "$order $limit", $parallel ? '' : $limit);
}

sub select_query
{
  my ($parallel) = @_;
  my ($source, $condition, $call, $value) = (source(), condition(), call(), value());
  my $where = "FROM $source WHERE $condition";
  return pick(
    ("SELECT f.id, $value, " . value() . " $where " . rest(3, $parallel)) x 3,
    "SELECT f.id $where " . rest(1, $parallel),
    "SELECT f.id, $value $where ORDER BY " . call() . ', 1, 2 ' . pick('', 'LIMIT 5'),
    "SELECT count($call), max($value), count(*) FILTER (WHERE " . condition() . ") $where",
    "SELECT $call AS l, count(*), max(f.id), string_agg($value, ',' ORDER BY f.id, $value) $where GROUP BY l " . rest(4, $parallel),
    "SELECT f.label, count(DISTINCT $call) $where GROUP BY f.label HAVING max($call) IS NOT NULL " . rest(2, $parallel),
    "SELECT $call AS l, f.label, count(*) $where GROUP BY ROLLUP (1, 2) ORDER BY 1, 2, 3",
    "SELECT DISTINCT $value, f.label $where " . rest(2, $parallel),
    "SELECT f.id, $value, row_number() OVER (PARTITION BY $call ORDER BY f.id, $value) $where " . rest(3, $parallel),
    "SELECT f.id, count(*) OVER (PARTITION BY f.label), $call $where " . rest(3, $parallel),
    "SELECT f.id, (" . topk() . ").label $where " . rest(2, $parallel),
    "SELECT f.id, (" . topk() . ").label, generate_series(1, 2), $call $where " . rest(4, $parallel),
    "SELECT f.id, unnest(ARRAY[$value, $call]) $where " . rest(2, $parallel),
    "SELECT $value $where UNION ALL SELECT w.label FROM wanted w " . rest(1, $parallel),
    "SELECT $value $where " . pick('INTERSECT', 'EXCEPT', 'UNION') . " SELECT label FROM wanted ORDER BY 1",
    "SELECT w.label, (SELECT $call FROM $images f WHERE f.label = w.label AND $condition ORDER BY f.id LIMIT 1) FROM wanted w ORDER BY 1",
    "SELECT w.label, l.* FROM wanted w, LATERAL (SELECT f.id, $value FROM $images f WHERE f.label = w.label ORDER BY f.id LIMIT 3) l "
      . rest(3, $parallel),
    "WITH s AS MATERIALIZED (SELECT f.id, $value AS v $where) SELECT a.id, b.v FROM s a JOIN s b ON a.id = b.id " . rest(2, $parallel));
}

sub changing_query
{
  my ($call, $condition) = (call(), condition());
  my $source = source();
  return pick(
    "UPDATE images f SET said = $call WHERE $condition RETURNING f.id, f.said",
    "UPDATE parted f SET said = $call, label = " . value() . " WHERE $condition RETURNING f.id, f.said, f.label",
    "UPDATE images SET said = s.v FROM (SELECT f.id, $call AS v FROM $source WHERE $condition) s WHERE s.id = images.id"
      . ' AND s.id % 2 = 0 RETURNING images.id, images.said',
    "DELETE FROM images f WHERE $condition RETURNING f.id, f.label",
    "DELETE FROM images f USING wanted w WHERE w.label = $call RETURNING f.id, w.label",
    "INSERT INTO parted (id, said) SELECT f.id + 1000, $call FROM $source WHERE f.id IS NOT NULL AND $condition RETURNING id, said",
    "WITH i AS (INSERT INTO parted (id, said) SELECT f.id + 1000, $call FROM images f WHERE $condition RETURNING *)"
      . ' SELECT id, said FROM i');
}

my @parallel = ('imagecalc.enable_parallel_infer = on', 'parallel_setup_cost = 0', 'parallel_tuple_cost = 0', 'min_parallel_table_scan_size = 0',
  'min_parallel_index_scan_size = 0');

sub settings
{
  my ($parallel) = @_;
  my @settings = ('imagecalc.batch_size = ' . pick(1, 2, 5, 128));
  for my $method (qw(hashjoin mergejoin nestloop hashagg sort memoize material indexscan))
  {
    push @settings, "enable_$method = off" if chance(0.2);
  }
  return @settings unless $parallel;
  push @settings, @parallel;
  push @settings, 'force_parallel_mode = on' if chance(0.3);
  push @settings, 'parallel_leader_participation = off' if chance(0.4);
  return @settings;
}

# ---- running them

my $session = $node->background_psql('postgres', on_error_stop => 0);
$session->query_safe('\set VERBOSITY terse');

# What it returns, or its error; what it changes is undone.
sub outcome
{
  my ($statement, @settings) = @_;
  $session->{stderr} = '';
  my $set = join('', map { "SET LOCAL $_; " } @settings);
  my $rows = $session->query("BEGIN; $set\n$statement;\nROLLBACK;");
  my ($error) = $session->{stderr} =~ /((?:ERROR|FATAL|PANIC):.*)/;
  return { rows => $rows, error => $error };
}

sub in_any_order { return join("\n", sort split(/\n/, $_[0])); }

# Empty where both are the same. Which of several errors comes first depends on the workers.
sub difference
{
  my ($batched, $single, $parallel, $ordered) = @_;
  return 'only one fails' if defined $batched->{error} != defined $single->{error};
  if (defined $single->{error})
  {
    return $parallel || $batched->{error} eq $single->{error} ? '' : 'another error';
  }
  return '' if $batched->{rows} eq $single->{rows};
  return 'other rows' if in_any_order($batched->{rows}) ne in_any_order($single->{rows});
  return $parallel && !$ordered ? '' : 'another order';
}

my %count = map { $_ => 0 } qw(run failed batched parallel erring empty);
my $end = time + $longest;
while ($count{run} < $wanted && time < $end)
{
  my $parallel = chance(0.25);
  $images = chance(0.25) ? pick(qw(other_format damaged no_labels)) : 'images';
  my $statement = !$parallel && chance(0.15) ? changing_query() : select_query($parallel);
  my @settings = settings($parallel);
  my $plan = outcome("EXPLAIN $statement", @settings)->{rows};
  my $single = outcome($statement, @settings, 'imagecalc.enable_batch_infer = off');
  my $batched = outcome($statement, @settings);
  ++$count{run};
  ++$count{batched} if $plan =~ /ImageInfer/;
  ++$count{parallel} if $plan =~ /Parallel Custom Scan \(ImageInfer\)/;
  ++$count{erring} if defined $single->{error};
  ++$count{empty} if !defined $single->{error} && $single->{rows} eq '';
  my $difference = difference($batched, $single, $parallel, $statement =~ /ORDER BY [^()]*$/) or next;
  ++$count{failed};
  my $settings = join('', map { "SET $_; " } @settings);
  fail("$difference: $settings\n$statement;");
  diag("$plan\nbatched: " . ($batched->{error} // $batched->{rows}) . "\nrow by row: " . ($single->{error} // $single->{rows}));
  last if $count{failed} >= 10;
}
note(join(', ', map { "$_ $count{$_}" } sort keys %count));
is($count{failed}, 0, "as row by row: $count{run} queries, seed $seed");
cmp_ok($count{run}, '>=', $wanted / 10, 'of which enough were run in time');
cmp_ok($count{batched}, '>', 0.75 * $count{run}, 'most are batched');
cmp_ok($count{parallel}, '>', 0.05 * $count{run}, 'some by workers');
cmp_ok($count{erring}, '>', 0.02 * $count{run}, 'some fail');
cmp_ok($count{erring} + $count{empty}, '<', 0.4 * $count{run}, 'and most return something');
$session->quit;

$node->stop;
done_testing();
