# Designs that are cancelled, killed, interrupted and resumed: what was committed stays, and what is shown is true.
#
# expects in the log: imagecalc-runner

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use ImagecalcServer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = start_server('jobs', max_connections => 30);
my $model = script_model();
load_pictures($node, 'postgres', 25);
my $id;

sub ask { return $node->safe_psql('postgres', $_[0]); }
sub state_of { return ask("SELECT $_[0] FROM ic_progress WHERE design = $id"); }
sub trials { return ask("SELECT trial, kind, finished_at FROM ic_trials($id)"); }
sub worker { return ask(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'imagecalc design'}); }

# Whether no worker and no training runner is left.
sub is_quiet { return wait_until(sub { worker() eq '' && !runners($node, 'train') }); }

# Waits until the design is at an epoch of a trial: what PHASE of STEPS is to be.
sub wait_for_epoch
{
  my ($where, $name) = @_;
  my $found = wait_until(sub { state_of(q{phase || ' of ' || coalesce(steps, 0)}) =~ $where }, 120);
  ok($found, "$name is under way") or diag(ask("SELECT * FROM ic_progress"));
  return;
}
sub wait_for_trial { my ($number) = @_; return wait_for_epoch(qr/^trial $number, trying .* epoch of /, "trial $number"); }
sub wait_for_long_trial { return wait_for_epoch(qr/^trial \d+, trying .* epoch of 20000$/, 'a long trial'); }

# ---- a design belongs to the transaction that asks for it

my $import = "SELECT ic_import_model('cnn', '$model', labels => '@{[cnn_labels()]}', input => 'rgb\@32')";
ask($import);
my $session = $node->background_psql('postgres');
$session->query_safe("BEGIN; SELECT ic_design('pictures', 'cnn', storage => 60, size => 32)");
ok(wait_until(\&worker), 'the worker waits for the transaction');
is(ask('SELECT count(*) FROM ic_designs'), '0', 'whose design nobody sees yet');
$session->query_safe('ROLLBACK');
ok(is_quiet(), 'and leaves when it is rolled back');
is(ask('SELECT count(*) FROM ic_designs'), '0', 'with its design');
$session->quit;

# ---- cancelling

# The first trial that has another's weights takes minutes; nothing here waits for its end.
$id = small_design($node, 'postgres', q{buckets => 2, epochs => 10, transfer_epochs => 20000, name => 'result'});
ok(wait_until(sub { state_of('phase') =~ /^measuring storage/ }), 'a design measures what formats take');
is(state_of('state'), 'running', 'and is running');
my (undef, undef, $err) = $node->psql('postgres', "SELECT ic_resume($id)");
like($err, qr/ERROR:  design $id is running\nHINT:  SELECT \* FROM ic_progress/, 'a running design is not resumed');
my $took = seconds_of(sub { ask("SELECT ic_cancel($id)"); is_quiet(); });
cmp_ok($took, '<', 5, "ic_cancel ends it while it measures: after $took s");
is(state_of("state || ' ' || coalesce(error, 'no error')"), 'cancelled no error', 'it is cancelled, which is no error');
(undef, undef, $err) = $node->psql('postgres', "CALL ic_wait($id)");
like($err, qr/ERROR:  design $id is cancelled\nHINT:  .*SELECT ic_resume\($id\)/, 'ic_wait says so');

ask("SELECT ic_resume($id)");
wait_for_long_trial();
my $first = trials();
like($first, qr/^1\|scratch\|\S+ \S+(\n\d+\|scratch\|\S+ \S+)*$/, 'the trials before it are there as soon as they have ended');
$took = seconds_of(sub { ask("SELECT ic_cancel($id)"); is_quiet(); });
cmp_ok($took, '<', 5, "ic_cancel ends a training: after $took s");
is(state_of('state'), 'cancelled', 'it is cancelled');
is(trials(), $first, 'and its trials stay');
isnt(ask("SELECT count(*) FROM ic_explore($id)"), '0', 'as does what was learnt from it');

# ---- what can happen to it

sub resume
{
  ask("SELECT ic_resume($id)");
  wait_for_long_trial();
  is(trials(), $first, 'no trial is run again');
  return;
}

resume();
kill 'KILL', runners($node, 'train');
ok(is_quiet(), 'a design whose training runner is killed ends');
is(state_of('state'), 'failed', 'it has failed');
is(state_of('error'),
  "imagecalc-runner ended while it was at work. The server's log says why. Try again: it is started anew.", 'and says why');

resume();
ask('SELECT pg_terminate_backend(' . worker() . ')');
ok(is_quiet(), 'a terminated worker ends, and its runner with it');
is(state_of('state'), 'interrupted', 'the design is interrupted');
is(ask("SELECT state FROM ic_designs WHERE id = $id"), 'interrupted', 'in ic_designs, too');
(undef, undef, $err) = $node->psql('postgres', "CALL ic_wait($id)");
like($err, qr/ERROR:  design $id is interrupted\nHINT:  .*SELECT ic_resume\($id\)/, 'and ic_wait says so');

for my $mode ('fast', 'immediate')
{
  resume();
  my @all = descendants($node->{_pid});
  $took = seconds_of(sub { $node->stop($mode) });
  cmp_ok($took, '<', 30, "$mode stop amid a training takes $took s");
  ok(wait_until(sub { !grep { is_alive($_) } @all }), 'and leaves no process');
  $node->start;
  is(state_of('state'), 'interrupted', "after an $mode stop the design is interrupted");
  is(trials(), $first, 'its trials stay');
}

# A worker that never came: its design would wait for ever.
ask("UPDATE imagecalc.design SET state = 'queued' WHERE id = $id");
resume();
ask("SELECT ic_cancel($id)");
ok(is_quiet(), 'a queued design without a worker can be resumed, and cancelled');

# ---- to its end: the long trials are made short

ask("UPDATE imagecalc.design SET transfer_epochs = 2 WHERE id = $id; SELECT ic_resume($id)");
my ($out, $notices);
(undef, $out, $notices) = $node->psql('postgres', "CALL ic_wait($id)");
like($notices, qr/NOTICE:  design $id: \w.*NOTICE:  design $id: done, \S+ at [0-9.]+ %$/s,
  'resumed, it goes on to its end');
like(ask("SELECT string_agg(kind, ' ' ORDER BY trial) FROM ic_trials($id)"), qr/^scratch( scratch| transfer){3,9} final( final)?$/,
  'two trials a bucket, then those that promised most, and one or two finalists');
is(ask("SELECT string_agg(trial::text, ',' ORDER BY finished_at) = string_agg(n::text, ',' ORDER BY n)
        FROM (SELECT *, row_number() OVER (ORDER BY trial) AS n FROM ic_trials($id)) AS t"), 't', 'each was run once');
like(trials(), qr/^\Q$first\E\n/, 'the first ones long ago');
is(ask("SELECT d.state, input = format, design FROM ic_designs AS d JOIN ic_models ON name = model WHERE id = $id"),
  "done|t|$id", 'and a model came of it');
is(ask(q{SELECT count(*) FROM pictures WHERE ic_infer('result', jpeg) IS NOT NULL}), '100', 'that classifies');
ok(is_quiet(), 'nothing is left running');

# ---- several at once

sub allow_at_once
{
  my ($designs) = @_;
  ask("LOAD 'imagecalc'; ALTER SYSTEM SET imagecalc.max_design_workers = $designs; SELECT pg_reload_conf()");
  return;
}

allow_at_once(1);
my $long = $id = small_design($node, 'postgres', q{buckets => 2, epochs => 20000, name => 'long'});
wait_for_trial(1);
$id = small_design($node, 'postgres', q{buckets => 2, epochs => 2, transfer_epochs => 1, name => 'short'});
ok(wait_until(sub { state_of(q{state || ', ' || phase}) eq 'queued, waiting for other designs' }), 'one more than may work waits');
allow_at_once(2);
ask("CALL ic_wait($id)");
is(state_of('state'), 'done', 'when it may it works beside the other');
$id = $long;
is(state_of('state'), 'running', 'which goes on');
ask("SELECT ic_cancel($id)");
ok(is_quiet(), 'until it is cancelled');

# ---- more pictures than memory may hold, and no room on the disk

ask("LOAD 'imagecalc'; ALTER SYSTEM SET imagecalc.trainer_memory = '1MB'; SELECT pg_reload_conf()");
my $temporary = $node->data_dir . '/base/pgsql_tmp';
chmod 0500, $temporary or die "$temporary: $!";
$id = ask(qq{SELECT ic_design('pictures', '$model', storage => 60, size => 256, epochs => 20000, name => 'spooled')});
ok(wait_until(sub { state_of('state') eq 'failed' }), 'a design that finds no room for its pictures fails');
like(state_of('error'), qr{could not make a spool file in base/pgsql_tmp: Permission denied. Free some space}, 'and says why');
chmod 0700, $temporary or die "$temporary: $!";

# A file may not grow past a segment of the log: less than the 20 MB of the pictures, and enough for all else.
sub limit_files { system('prlimit', '--pid', $node->{_pid}, "--fsize=$_[0]:") == 0 or die 'prlimit'; return; }
limit_files(16 * 1024 * 1024);
ask("SELECT ic_resume($id)");
ok(wait_until(sub { state_of('state') eq 'failed' }), 'so does one that finds room for some of them');
like(state_of('error'), qr{could not write the spool file in base/pgsql_tmp past 16 MB: File too large. Free some space}, 'and says why');
is(join(',', runners($node, 'train')), '', 'nothing is left of it');
is_deeply([ glob("$temporary/*") ], [], 'no file either');
limit_files('unlimited');
ask("SELECT ic_resume($id)");
wait_for_trial(1);
my @spooled = map { grep { /pgsql_tmp.*deleted/ } map { readlink($_) // '' } glob("/proc/$_/fd/*") } runners($node, 'train');
is(scalar @spooled, 1, 'once there is room it goes on, with pictures in a file that has no name any more');
ask("SELECT ic_cancel($id)");
ok(is_quiet(), 'until it is cancelled');
ask("ALTER SYSTEM RESET imagecalc.trainer_memory; SELECT pg_reload_conf()");

# ---- a table that goes away

$id = small_design($node, 'postgres', q{buckets => 2, epochs => 20000, name => 'of no table'});
wait_for_trial(1);
ask('CREATE TABLE other AS TABLE pictures; DROP TABLE pictures');
is(state_of('state'), 'running', 'a design whose table is dropped goes on: it has the pictures');
ask("SELECT ic_cancel($id)");
ok(is_quiet(), 'until it is cancelled');
ask("SELECT ic_resume($id)");
ok(wait_until(sub { state_of('state') eq 'failed' }), 'then it cannot go on');
is(state_of('error'), "the table of design $id does not exist any more. Design on another one with ic_design.",
  'and says why');
is(ask("SELECT ddl IS NULL FROM ic_designs WHERE id = $id"), 't', 'nor is there DDL to run');
$node->stop;

# ---- few slots; a role that cannot log in, and sees only some rows

$node = start_server('crowded', max_worker_processes => 2, max_logical_replication_workers => 0);
load_pictures($node, 'postgres', 25);
ask(<<"END");
$import;
CREATE ROLE designer NOLOGIN;
GRANT SELECT ON pictures TO designer;
ALTER TABLE pictures ENABLE ROW LEVEL SECURITY;
CREATE POLICY half ON pictures TO designer USING (id <= 50);
END
my $call = q{SELECT ic_design('pictures', 'cnn', storage => 60, size => 32, epochs => 20000, name => 'result')};
$id = ask("SET ROLE designer; $call");
wait_for_trial(1);
is(ask("SELECT owner, training_images + validation_images FROM ic_designs WHERE id = $id"), 'designer|50',
  'a role without LOGIN designs on the rows that it may see');
is(ask("SELECT usename FROM pg_stat_activity WHERE backend_type = 'imagecalc design'"), 'postgres',
  'by a worker that belongs to the system');
(undef, undef, $err) = $node->psql('postgres', $call);
like($err, qr/ERROR:  model "result" already exists, or a design is about to make it\nHINT:  Choose another name/,
  'no second design may make a model of the same name');
$call =~ s/'result'/'another'/;
(undef, undef, $err) = $node->psql('postgres', $call);
like($err, qr/ERROR:  no background worker slot is free for the design\nHINT:  Raise max_worker_processes/,
  'without a free slot there is no second design');
is(ask('SELECT count(*) FROM ic_designs'), '1', 'nor a row of it');
(undef, undef, $err) = $node->psql('postgres', "SELECT ic_drop_design($id)");
like($err, qr/ERROR:  design $id is running\nHINT:  Stop it with ic_cancel first/, 'a running design is not dropped');
is(ask("SET ROLE designer; SELECT ic_cancel($id); SELECT count(*) FROM ic_designs"), "\n1", 'its owner may cancel it');
ok(is_quiet(), 'and it ends');
is(ask("SET ROLE designer; SELECT state FROM ic_progress"), 'cancelled', 'as its owner sees');

# Privileges that are gone are gone for the worker, too.
ask("REVOKE SELECT ON pictures FROM designer; SELECT ic_resume($id)");
ok(wait_until(sub { state_of('state') eq 'failed' }), 'a design whose owner may not read the table any more fails');
is(state_of('error'), 'permission denied for table pictures', 'and says so');
ok(is_quiet(), 'it ends');
ask("SET ROLE designer; SELECT ic_drop_design($id)");
is(ask('SELECT count(*) FROM imagecalc.candidate'), '0', 'a design is dropped with what it found');
$node->stop;

done_testing();
