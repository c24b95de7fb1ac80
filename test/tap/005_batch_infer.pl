# Inference in batches, seen from outside: a session's first query, cancelling and killing in the middle, parallel workers,
# rows that others change meanwhile, a session's memory.
#
# expects in the log: imagecalc-runner was killed by signal 9

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use ImagecalcServer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $node = start_server('batches');
my $model = script_model();
my $labels = cnn_labels();
load_pictures($node, 'postgres', 10);
$node->safe_psql('postgres', <<"END");
SELECT ic_import_model('cnn', '$model', labels => '$labels', input => '1x1/b8/k3/q20\@64');
SELECT ic_import_model('slow', '$model', labels => '$labels', input => 'rgb\@512');
CREATE TABLE images AS SELECT id, jpeg, jpeg::icimage('1x1/b8/k3/q20\@64') AS image, NULL::text AS said FROM pictures;
CREATE TABLE many AS SELECT row_number() OVER () AS id, image, jpeg FROM images, generate_series(1, 50);
END
my $count = $node->safe_psql('postgres', 'SELECT count(*) FROM many');

# ---- the first query of a session, which loads the library: nothing is preloaded

is($node->safe_psql('postgres', 'SHOW shared_preload_libraries'), '', 'nothing is preloaded');
my $call = q{ic_infer('cnn', image)};
for my $query (
  "SELECT $call FROM images", "SELECT count($call) FROM images", "SELECT id FROM images WHERE $call = 'x'",
  "UPDATE images SET said = $call", "SELECT id FROM images ORDER BY $call LIMIT 1")
{
  like($node->safe_psql('postgres', "EXPLAIN $query"), qr/Custom Scan \(ImageInfer\)/, "first in its session: $query");
}
is($node->safe_psql('postgres', "SELECT count($call) FROM many"), $count, 'and it runs');
my $answers = "SELECT id, $call FROM images ORDER BY id";
my $unloaded = $node->safe_psql('postgres', $answers);
my $first = $node->background_psql('postgres');
my $prepared = "EXPLAIN EXECUTE q";
$first->query_safe("SET plan_cache_mode = force_generic_plan; PREPARE q AS SELECT $call FROM images");
like($first->query_safe($prepared), qr/ImageInfer/, 'a plan that goes to the cache');
like($first->query_safe($prepared), qr/ImageInfer/, 'is as good when it comes from there');
$first->quit;
my $scrolling = <<"END";
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT id, $call IS NOT NULL FROM images ORDER BY id;
FETCH 2 FROM c;
FETCH PRIOR FROM c;
END
is($node->safe_psql('postgres', $scrolling), "1|t\n2|t\n1|t", 'a scrollable cursor goes backwards');

# ---- the same with the library in every session from the start

$node->append_conf('postgresql.conf', "shared_preload_libraries = 'imagecalc'");
$node->restart;
like($node->safe_psql('postgres', "EXPLAIN $answers"), qr/ImageInfer/, 'preloaded: the first query has a node');
is($node->safe_psql('postgres', $answers), $unloaded, 'and answers the same');
is($node->safe_psql('postgres', 'SHOW imagecalc.batch_size'), '128', 'settings are there at once');
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;

# ---- cancelling and killing in the middle of batches

my $session = $node->background_psql('postgres', on_error_stop => 0);
my $long = q{SELECT count(ic_infer('slow', jpeg)) FROM many};
$session->query_safe(q{SELECT ic_infer('slow', jpeg) FROM many LIMIT 1});
$session->query("SET statement_timeout = '1s'");
my $took = seconds_of(sub { $session->query($long) });
like($session->{stderr}, qr/canceling statement due to statement timeout/, 'a timeout ends it');
cmp_ok($took, '<', 10, "soon: after $took s");
$session->query('SET statement_timeout = 0');
$session->{stderr} = '';
is($session->query("SELECT count($call) FROM many"), $count, 'the next query works');

# An idle session takes a runner for a living one until its files are closed, which takes a moment.
sub kill_runner
{
  my @runners = runners($node, 'serve');
  kill 'KILL', @runners;
  wait_until(sub { !grep { is_alive($_) } @runners });
  return;
}

my $query = start_query($node, 'postgres', $long);
ok(wait_until(sub {
     $node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%slow%many%' AND wait_event_type = 'Extension'})
   }), 'a session waits for scores');
sleep 0.5;
kill_runner();
my ($out, $err) = finish_query($query);
like($err, qr/ERROR:  imagecalc-runner ended while it was at work\nHINT:/, 'the runner is killed: a clean error');
is($session->query("SELECT count($call) FROM many"), $count, 'and the next query works');

my @queries = map { start_query($node, 'postgres', $long) } 1 .. 8;
sleep 1;
kill_runner();
is_deeply([ map { my (undef, $error) = finish_query($_); $error =~ /^ERROR:  imagecalc-runner ended while it was at work/ } @queries ],
  [ (1) x 8 ], 'eight sessions at once: each gets the error');
@queries = map { start_query($node, 'postgres', "SELECT count($call) FROM many") } 1 .. 8;
is_deeply([ map { (finish_query($_))[0] } @queries ], [ ($count) x 8 ], 'and eight answers from the next runner');

# ---- parallel workers

my $parallel = 'SET imagecalc.enable_parallel_infer = on; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0';
my $workers = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'parallel worker'};
like($node->safe_psql('postgres', "$parallel; EXPLAIN SELECT count($call) FROM many"), qr/Gather.*Parallel Custom Scan \(ImageInfer\)/s,
  'a parallel plan');
is($node->safe_psql('postgres', "$parallel; SELECT count($call) FROM many"), $count, 'runs, first in its session');
is($node->safe_psql('postgres', "$parallel; SET parallel_leader_participation = off; SELECT count($call) FROM many"), $count,
  'by workers alone');
$session->query_safe($parallel);
is($session->query("BEGIN; SELECT ic_import_model('new', '$model', labels => '$labels', input => '1x1/b8/k3/q20\@64');"
      . "SELECT count(ic_infer('new', image)) FROM many; ROLLBACK"), "\n$count", 'with a model of the same transaction');
$session->{stderr} = '';
$session->query("SET statement_timeout = '1s'");
$took = seconds_of(sub { $session->query($long) });
like($session->{stderr}, qr/canceling statement due to statement timeout/, 'a timeout ends it');
cmp_ok($took, '<', 10, "soon: after $took s");
$session->query('SET statement_timeout = 0');
is($node->safe_psql('postgres', $workers), 0, 'its workers, too');
$session->{stderr} = '';

for my $ending ('pg_cancel_backend', 'pg_terminate_backend')
{
  $query = start_query($node, 'postgres', "$parallel; $long");
  ok(wait_until(sub {
       $node->safe_psql('postgres', "$workers AND wait_event_type = 'Extension'")
     }), 'a worker waits for scores');
  $node->safe_psql('postgres', "SELECT $ending(pid) FROM pg_stat_activity WHERE backend_type = 'parallel worker' LIMIT 1");
  ($out, $err) = finish_query($query);
  like($err, qr/^ERROR:  (canceling statement due to user request|terminating background worker.* due to administrator command)/,
    "$ending of a worker ends the query");
  is($session->query("SELECT count($call) FROM many"), $count, 'and others work');
}
$query = start_query($node, 'postgres', "$parallel; $long");
ok(wait_until(sub { $node->safe_psql('postgres', "$workers AND wait_event_type = 'Extension'") }), 'a worker waits for scores');
kill_runner();
($out, $err) = finish_query($query);
like($err, qr/^ERROR:  imagecalc-runner ended while it was at work/, 'the runner is killed: a clean error');
is($session->query("SELECT count($call) FROM many"), $count, 'and workers start the next');
$session->query_safe('RESET imagecalc.enable_parallel_infer; RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_table_scan_size');

# ---- rows that another session changes meanwhile are seen as it left them

$session->query_safe('BEGIN; UPDATE images SET id = id + 1000 WHERE id = 2');
my $waiting = start_query($node, 'postgres',
  "UPDATE images SET said = id || $call WHERE id <> 3 AND $call <> 'x' RETURNING id, said = id || $call");
ok(wait_until(sub { $node->safe_psql('postgres', q{SELECT count(*) FROM pg_locks WHERE NOT granted}) }), 'an update waits');
$session->query_safe('COMMIT');
($out, $err) = finish_query($waiting);
is($err, '', 'and goes on');
like($out, qr/^1002\|t$/m, 'with the row as it is now');
is(scalar(() = $out =~ /\|t$/mg), $node->safe_psql('postgres', 'SELECT count(*) - 1 FROM images'), 'and all others');

# ---- memory does not grow with the rows

sub memory_of
{
  my ($pid) = @_;
  return slurp_file("/proc/$pid/status") =~ /VmRSS:\s+(\d+) kB/ ? $1 : die 'no VmRSS';
}
my $pid = $session->query_safe('SELECT pg_backend_pid()');
my $large = "SELECT count($call) FROM many, generate_series(1, 20)";
$session->query_safe("SELECT count($call) FROM many, generate_series(1, 3)");
my $before = memory_of($pid);
is($session->query_safe($large), 20 * $count, 'many rows');
my $grown = memory_of($pid) - $before;
cmp_ok($grown, '<', 8192, "take no more memory than few: $grown kB");
$session->quit;

$node->stop;
done_testing();
