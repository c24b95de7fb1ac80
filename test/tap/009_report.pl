# ic_report in a real browser: its script runs, the budgets pick formats, nothing is asked for elsewhere.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use ImagecalcServer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_server('report');
my $folder = PostgreSQL::Test::Utils::tempdir();
load_pictures($node, 'postgres', 25);
my $design = small_design($node, 'postgres', 'epochs => 3, transfer_epochs => 1');
$node->safe_psql('postgres', "CALL ic_wait($design)");
my $report = $node->safe_psql('postgres', "SELECT ic_report($design)");

# The page as it is once its scripts, and then this one, have run; and what the browser complained of.
sub look_at
{
  my ($script, @options) = @_;
  my $path = "$folder/report.html";
  open(my $file, '>:utf8', $path) or die "$path: $!";
  print $file $report . "<script>$script</script>";
  close($file);
  my @browser = ('chromium', '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--enable-logging=stderr',
    "--user-data-dir=$folder/browser", '--virtual-time-budget=2000', '--window-size=1500,1600');
  local $ENV{HOME} = $folder;
  IPC::Run::run([ @browser, @options, "file://$path" ], '<', \undef, '>', \my $dom, '2>', \my $err);
  return ($dom, join("\n", grep { /CONSOLE/ } split(/\n/, $err)));
}

# What the page says that it has picked, for sliders at these places of 1000.
sub pick_at
{
  my ($latency, $storage) = @_;
  my ($dom, $complaints) = look_at(<<"END", '--dump-dom');
for (const [id, value] of [['latency', $latency], ['storage', $storage]]) {
  const slider = document.getElementById(id);
  slider.value = value;
  slider.dispatchEvent(new Event('input'));
}
END
  is($complaints, '', "the browser has nothing to complain of at $latency, $storage");
  return $dom =~ /<div id="pick">([^<]*)<\/div>/ ? $1 : 'no pick';
}

# The same by SQL, in the page's words up to the interval.
my $most_accurate = $node->safe_psql('postgres', <<"END");
SELECT format('%s: %s %%', format, round(100 * round(accuracy::numeric, 4), 1)) FROM ic_explore($design) LIMIT 1
END
my ($fastest, $smallest) = split /\|/, $node->safe_psql('postgres', "SELECT min(latency_us), min(bytes) FROM ic_explore($design)");

# The page shows three digits.
sub is_about
{
  my ($pick, $unit, $value, $name) = @_;
  my ($shown) = $pick =~ /([0-9.e+]+) $unit/;
  ok(defined $shown && abs($shown - $value) <= 0.01 * $value, "$name: $pick");
  return;
}

like(pick_at(1000, 1000), qr/^\Q$most_accurate\E \(/, 'without budgets the most accurate format is picked');
is_about(pick_at(1000, 0), 'bytes', $smallest, 'with the least storage the smallest');
is_about(pick_at(0, 1000), 'us', $fastest, 'with the least time the fastest');

my ($dom) = look_at('', '--dump-dom');
is(() = $dom =~ /<circle [^>]*stroke="#be185d"[^>]*visibility="visible"/g, 2, 'the pick is marked in both plots');
look_at('', "--screenshot=$folder/report.png");
ok(-s "$folder/report.png" > 50_000, 'and there is something to see');

done_testing();
