# The serving runner: started by the first use, one for all, out of the server's address space, and expendable.
#
# expects in the log: imagecalc-runner was killed by signal 9

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use ImagecalcServer;
use IO::Socket::UNIX;
use POSIX qw(WNOHANG);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = start_server('runner', max_connections => 30);
my $postmaster = $node->{_pid};
my $model = script_model();
my $labels = cnn_labels();
my $classify = q{SELECT ic_infer('cnn', jpeg) FROM pictures WHERE id = 1};
is($node->safe_psql('postgres', 'SHOW shared_preload_libraries'), '', 'nothing is preloaded');

# Whether there is one serving runner, another one than this.
sub is_replaced
{
  my ($old) = @_;
  return wait_until(sub { my @now = runners($node, 'serve'); @now == 1 && $now[0] != $old });
}

# ---- first use

load_pictures($node, 'postgres', 10);
is(scalar(runners($node, 'serve')), 0, 'storing pictures takes no runner');
$node->safe_psql('postgres', <<"END");
SELECT ic_import_model('cnn', '$model', labels => '$labels', input => '1x1/b8/k3/q20\@64');
SELECT ic_import_model('slow', '$model', labels => '$labels', input => 'rgb\@2048');
END
my @runners = runners($node, 'serve');
is(scalar(@runners), 1, 'the first model starts it');

my $session = $node->background_psql('postgres');
my $label = $session->query_safe($classify);
like($labels, qr/\b$label\b/, 'a session classifies');

# ---- one for all

$node->safe_psql('postgres', 'CREATE DATABASE second');
load_pictures($node, 'second', 5);
$node->safe_psql('second', "SELECT ic_import_model('cnn', '$model', labels => '$labels', input => '1x1/b8/k3/q20\@64')");
is($node->safe_psql('second', $classify), $label, 'another database gets the same answer');
is_deeply([ runners($node, 'serve') ], \@runners, 'from the same runner');
is(parent_of(parent_of($runners[0])), $postmaster, 'whose supervisor is the postmaster\'s child');
is($node->safe_psql('postgres', 'DROP DATABASE second; SELECT count(*) FROM pg_database WHERE datname = \'second\''), '0',
  'and keeps no database from being dropped');

# ---- apart from the server

ok(maps_torch($runners[0]), 'the runner maps LibTorch');
is_deeply([ grep { maps_torch($_) } $postmaster, grep { $_ != $runners[0] } descendants($postmaster) ], [],
  'no process of the server does, be it one that has classified');
my ($pkglibdir) = run_command([ 'pg_config', '--pkglibdir' ]);
my ($libraries) = run_command([ 'ldd', "$pkglibdir/imagecalc.so" ]);
like($libraries, qr/libjpeg/, 'ldd shows what the module is linked with');
unlike($libraries, qr/libtorch|libc10|openblas/, 'which is not LibTorch');

my $socket = $node->data_dir . '/pg_stat_tmp/imagecalc.sock';
is(sprintf('%o', (stat $socket)[2] & 07777), '600', 'only the server\'s own user reaches the socket');
is(sprintf('%o', (stat $node->data_dir . '/pg_stat_tmp/imagecalc.lock')[2] & 07777), '600', 'and the lock');
is(slurp_file("/proc/$runners[0]/oom_score_adj") > 0, 1, 'the kernel would take it before the postmaster');

# ---- cancelling: a query takes seconds here, and is left within a pass of its model

my $slow = q{SELECT ic_infer('slow', jpeg) FROM pictures, generate_series(1, 12) WHERE id = 1};
$node->safe_psql('postgres', $slow);
my $pass = seconds_of(sub { $node->safe_psql('postgres', $slow) });
note("twelve passes of the large model take $pass s");
my ($out, $err);
my $took = seconds_of(sub { (undef, undef, $err) = $node->psql('postgres', "SET statement_timeout = '100ms'; $slow") });
like($err, qr/canceling statement due to statement timeout/, 'statement_timeout ends a wait for the runner');
cmp_ok($took, '<', 0.1 + 0.5 * $pass, "long before the runner would have answered: after $took s");

my $query = start_query($node, 'postgres', $slow);
my $waits =
  q{SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT ic_infer(''slow''%' AND wait_event_type = 'Extension'};
my $pid = wait_until(sub { $node->safe_psql('postgres', $waits) });
ok($pid, 'a session waits for the runner');
$took = seconds_of(
  sub {
    $node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
    ($out, $err) = finish_query($query);
  });
like($err, qr/canceling statement due to user request/, 'pg_cancel_backend ends it, too');
cmp_ok($took, '<', 0.5 * $pass, "as soon: after $took s");
is($session->query_safe($classify), $label, 'others are answered all along');
is_deeply([ runners($node, 'serve') ], \@runners, 'by the same runner');

# ---- killing it

my $started = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
my $victim = $node->background_psql('postgres', on_error_stop => 0);
my $victim_pid = $victim->query_safe('SELECT pg_backend_pid()');
$victim->query_until(qr/begun/, "\\echo begun\n$slow;\n\\echo over :LAST_ERROR_MESSAGE\n");
sleep 0.5;    # past its greeting, which would be repeated
kill 'KILL', $runners[0];
ok(wait_until(sub { $victim->{run}->pump_nb; $victim->{stdout} =~ /over/ }),
  'when the runner is killed, who waits is not left waiting');
like($victim->{stdout}, qr/over imagecalc-runner ended while it was at work/, 'but told');
$victim->{stdout} = $victim->{stderr} = '';
is($victim->query('SELECT pg_backend_pid()'), $victim_pid, 'its session goes on');
is($victim->query($classify), $label, 'and its next call works');
is($session->query_safe($classify), $label, 'as does another session\'s');
my @successors = runners($node, 'serve');
is(scalar(@successors), 1, 'from a new runner');
isnt($successors[0], $runners[0], 'started in the old one\'s place');
is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'), $started, 'the server has not restarted');
unlike(slurp_file($node->logfile), qr/terminating any other active server processes/, 'nor its processes');
$victim->quit;

# killed again and again: it comes back each time
for my $round (1 .. 3)
{
  @runners = runners($node, 'serve');
  kill 'KILL', @runners;
  is_replaced($runners[0]);
  is($session->query_safe($classify), $label, "kill $round: the next call works");
}

# ---- nonsense on its socket

chdir $node->data_dir or die $!;
my @nonsense = (
  "\0" x 100, "\xff" x 100, "GET / HTTP/1.0\r\n\r\n", pack('L<C', 1, 0), pack('L<C', 0xfffffff0, 3),
  join('', map { chr($_ * 7 % 256) } 1 .. 5000));
for my $nonsense (@nonsense)
{
  my $peer = IO::Socket::UNIX->new(Peer => 'pg_stat_tmp/imagecalc.sock') or die "no connection: $!\n";
  local $SIG{PIPE} = 'IGNORE';
  syswrite $peer, $nonsense;
  close $peer;
}
my @silent = map { IO::Socket::UNIX->new(Peer => 'pg_stat_tmp/imagecalc.sock') } 1 .. 20;
syswrite $silent[0], pack('L<C', 1000, 3) . 'half a message';
@runners = runners($node, 'serve');
is($node->safe_psql('postgres', $classify), $label, 'nonsense on the socket harms nobody');
is_deeply([ runners($node, 'serve') ], \@runners, 'nor does it end the runner');
close $_ for @silent;

# ---- settings

$session->query_safe("ALTER SYSTEM SET imagecalc.runner_threads = 1");
$node->reload;
ok(is_replaced($runners[0]), 'a new number of threads is taken up at reload');
is($session->query_safe($classify), $label, 'sessions do not notice');

# Without room for two models, one stays.
$session->query_safe("SELECT ic_import_model('other', '" . (script_model() =~ s/script/trace/r) . "', input => 'rgb\@32')");
my $use_both = "$classify; SELECT count(ic_infer('other', jpeg)) FROM pictures";
my $held = q{SELECT string_agg(name, ' ' ORDER BY name) FROM ic_stat_models};
$session->query_safe($use_both);
is($session->query_safe($held), 'cnn other slow', 'two models are held, one of them by two names');
@runners = runners($node, 'serve');
$session->query_safe('ALTER SYSTEM SET imagecalc.model_cache = 0');
$node->reload;
ok(is_replaced($runners[0]), 'a smaller cache is taken up at reload');
$session->query_safe($use_both);
is($session->query_safe($held), 'other', 'then only the last model is held');

# Sessions that ask at the same time, with and without time to meet.
for my $wait (5000, 0)
{
  @runners = runners($node, 'serve');
  $session->query_safe("ALTER SYSTEM SET imagecalc.batch_wait = $wait");
  $node->reload;
  ok(is_replaced($runners[0]), "batch_wait $wait is taken up at reload");
  my @queries = map { start_query($node, 'postgres', $classify) } 1 .. 6;
  is_deeply([ map { (finish_query($_))[0] } @queries ], [ ($label) x 6 ], 'sessions get their answers');
}

# An idle runner ends, and its supervisor with it; sessions notice nothing, whenever they ask.
@runners = runners($node, 'serve');
my $supervisor = parent_of($runners[0]);
$session->query_safe('ALTER SYSTEM RESET imagecalc.model_cache');
$session->query_safe("ALTER SYSTEM SET imagecalc.runner_idle_timeout = '1s'");
$node->reload;
ok(wait_until(sub { !is_alive($runners[0]) && !is_alive($supervisor) && !runners($node, 'serve') }), 'an idle runner ends');
is($session->query_safe($held), '', 'looking at it starts none');
is(scalar(runners($node, 'serve')), 0, 'indeed');
for my $round (1 .. 6)
{
  is($session->query_safe($classify), $label, "idle $round: the next call works");
  sleep 0.95 + 0.02 * $round;
}
$session->query_safe('ALTER SYSTEM RESET imagecalc.runner_idle_timeout');
$node->reload;
is($session->query_safe($classify), $label, 'without the setting it stays');
ok(wait_until(sub { scalar(runners($node, 'serve')) == 1 }), 'one runner is up');

# ---- ends with its supervisor

@runners = runners($node, 'serve');
kill 'TERM', parent_of($runners[0]);
ok(wait_until(sub { !is_alive($runners[0]) }), 'the runner ends with its supervisor');
ok(!-e $socket || !IO::Socket::UNIX->new(Peer => 'pg_stat_tmp/imagecalc.sock'), 'nobody listens any more');
is($session->query_safe($classify), $label, 'the next call starts both');
$session->quit;

# ---- a server that stops leaves nothing behind

for my $mode ('fast', 'immediate')
{
  my @all = descendants($node->{_pid});
  @runners = runners($node, 'serve');
  is(scalar(@runners), 1, "$mode stop: there is a runner");
  my $busy = start_query($node, 'postgres', $slow);
  sleep 0.3;
  $took = seconds_of(sub { $node->stop($mode) });
  finish_query($busy);
  ok(wait_until(sub { !grep { is_alive($_) } @all }), "$mode stop: no process is left, the runner's included");
  cmp_ok($took, '<', 30, "$mode stop: it took $took s");
  $node->start;

  # Many sessions at once ask for a runner that is not there.
  my @queries = map { start_query($node, 'postgres', $classify) } 1 .. 8;
  is_deeply([ map { (finish_query($_))[0] } @queries ], [ ($label) x 8 ], "after the $mode stop: many first calls at once");
  is(scalar(runners($node, 'serve')), 1, 'are answered by one runner');
}
@runners = runners($node, 'serve');
$node->kill9;
ok(wait_until(sub { !is_alive($runners[0]) }), 'the runner ends with a postmaster that is killed');

# ---- no slot for a supervisor

my $crowded = start_server('crowded', max_worker_processes => 0);
load_pictures($crowded, 'postgres', 1);
(undef, undef, $err) = $crowded->psql('postgres', "SELECT ic_import_model('cnn', '$model')");
like($err, qr/ERROR:  no background worker slot is free for the imagecalc supervisor\nHINT:  Raise max_worker_processes/,
  'without a free slot for it there is no runner, but a hint');
my $encode = q{SELECT ic_format(jpeg::icimage('1x1/b8/k3/q20@64')) FROM pictures LIMIT 1};
is($crowded->safe_psql('postgres', $encode), '1x1/b8/k3/q20@64', 'and the type works');
$crowded->stop;

done_testing();
