# Another runner is installed under a server that is at work: the old one answers what it was asked and gives way, and no
# query fails.

use strict;
use warnings;

use File::Basename qw(basename);
use FindBin;
use lib $FindBin::RealBin;
use ImagecalcServer;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

# An installation of this test's own: PostgreSQL looks for its libraries beside its program. Only programs and the runner are
# copies.
sub own_installation
{
  my $prefix = PostgreSQL::Test::Utils::tempdir();
  my $home = "$prefix/lib/postgresql/15";
  my %folder = map { my ($path) = run_command([ 'pg_config', "--$_" ]); ($_ => $path) } qw(bindir pkglibdir sharedir);
  system_or_bail('mkdir', '-p', "$home/lib", "$prefix/share/postgresql");
  system_or_bail('cp', '-r', $folder{bindir}, "$home/bin");
  symlink $folder{sharedir}, "$prefix/share/postgresql/15" or die $!;
  for my $file (glob "$folder{pkglibdir}/*")
  {
    my $place = "$home/lib/" . basename($file);
    if (basename($file) eq 'imagecalc-runner') { system_or_bail('cp', $file, $place); }
    else { symlink $file, $place or die $!; }
  }
  return $home;
}

my $home = own_installation();
my $node = start_server_of($home, 'upgrade', max_connections => 30);
load_pictures($node, 'postgres', 10);
my $pictures = $node->safe_psql('postgres', 'SELECT count(*) FROM pictures');
$node->safe_psql('postgres', sprintf q{SELECT ic_import_model('cnn', '%s', labels => '%s', input => '1x1/b8/k3/q20@64')},
  script_model(), cnn_labels());
my $classify = q{SELECT ic_infer('cnn', jpeg) FROM pictures WHERE id = 1};
my $label = $node->safe_psql('postgres', $classify);

# As `make install` does it.
sub install_another_runner
{
  my $place = "$home/lib/imagecalc-runner";
  system_or_bail('cp', $place, "$place.new");
  rename "$place.new", $place or die $!;
  return;
}

for my $round (1 .. 2)
{
  my ($runner) = runners($node, 'serve');
  ok($runner && readlink("/proc/$runner/exe") eq "$home/lib/imagecalc-runner", "round $round: the runner is the installed one");

  # Several requests on their way at a time, and one after the other.
  my $rows = 100 * $pictures;
  my $batches = "SET imagecalc.batch_size = 16; SELECT count(ic_infer('cnn', jpeg)) FROM pictures, generate_series(1, 100)";
  my $singles = q{SET imagecalc.enable_batch_infer = off;
    DO $$ BEGIN FOR i IN 1 .. 2000 LOOP
      IF (SELECT ic_infer('cnn', jpeg) FROM pictures WHERE id = 1) IS NULL THEN RAISE 'no label'; END IF;
    END LOOP; END $$; SELECT 'done'};
  my $session = $node->background_psql('postgres');
  $session->query_safe(q{SET imagecalc.batch_size = 4; BEGIN; DECLARE c CURSOR FOR
    SELECT ic_infer('cnn', jpeg) AS label FROM pictures, generate_series(1, 100)});
  is($session->query_safe('FETCH 1 FROM c'), $label, "round $round: a cursor is open");

  my (@queries, $replaced);
  install_another_runner();
  for (my $end = time + 60; !$replaced && time < $end; sleep 0.05)
  {
    my $running = grep { $_->{handle}->pumpable && $_->{handle}->pump_nb } @queries;
    push @queries, start_query($node, 'postgres', @queries % 3 ? $batches : $singles) for $running .. 2;
    my ($now) = runners($node, 'serve');
    $replaced = $now && $now != $runner;
  }
  ok($replaced, "round $round: another runner is started while queries run");
  my @results = map { join ' ', finish_query($_) } @queries;
  my @wrong = grep { $_ ne "$rows " && $_ ne 'done ' } @results;
  is_deeply(\@wrong, [], "round $round: none of " . @queries . ' queries fails');
  like($session->query_safe('FETCH 500 FROM c'), qr/^(\w+\n){499}\w+$/, "round $round: the cursor goes on");
  $session->quit;
  ok(!is_alive($runner), "round $round: the old runner has gone");
}

# Nothing is installed in its place: the runner stays.
my ($runner) = runners($node, 'serve');
rename "$home/lib/imagecalc-runner", "$home/lib/away" or die $!;
sleep 6;
is($node->safe_psql('postgres', $classify), $label, 'a runner whose file is gone works on');
is_deeply([ runners($node, 'serve') ], [$runner], 'it is the same');
rename "$home/lib/away", "$home/lib/imagecalc-runner" or die $!;
$node->stop;

done_testing();
