# A design asked for twice, with the same seed and the same stored costs: the same trials, accuracies, choice and weights.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use ImagecalcServer;
use Test::More;

my $node = start_server('repeatable');
load_pictures($node, 'postgres', 25);

sub ask { return $node->safe_psql('postgres', $_[0]); }

my $arguments = q{latency => '1s', seed => 7, epochs => 3, transfer_epochs => 1, buckets => 4};
my $first = small_design($node, 'postgres', "$arguments, name => 'first'");
ask("CALL ic_wait($first)");

# Its costs are there before the worker of the second begins, which then measures none.
my $model = script_model();
my $second = ask(<<"END");
BEGIN;
CREATE TEMP TABLE second AS
  SELECT ic_design('pictures', '$model', storage => 60, size => 32, sampled_buckets => 2, trials_per_bucket => 2, $arguments,
                   name => 'second') AS id;
INSERT INTO imagecalc.candidate (design, format, bytes, bytes_deviation, fetch_us, decode_us, transfer_us, model_us, single_us,
                                 latency_measured, refusal)
  SELECT id, format, bytes, bytes_deviation, fetch_us, decode_us, transfer_us, model_us, single_us, latency_measured, refusal
  FROM imagecalc.candidate, second WHERE design = $first;
COMMIT;
SELECT id FROM second;
END
ask("CALL ic_wait($second)");

# What two queries on the designs have in common is all that either gives.
sub is_same
{
  my ($query, $name) = @_;
  my @each = map { ask($query =~ s/DESIGN/$_/gr) } $first, $second;
  isnt($each[0], '', "$name: there is something to compare");
  is($each[1], $each[0], $name);
  return;
}

is_same('SELECT trial, kind, format, parent, epochs, accuracy, top5_accuracy, loss FROM ic_trials(DESIGN) ORDER BY trial', 'trials');
is_same('SELECT format, latency_us, bytes FROM ic_designs WHERE id = DESIGN', 'the choice');
is_same('SELECT format, accuracy, accuracy_low, accuracy_high, measured, on_frontier FROM ic_candidates(DESIGN) ORDER BY format', 'predictions');
is(ask(q{SELECT count(DISTINCT hash) FROM imagecalc.model WHERE name IN ('first', 'second')}), '1', 'weights');

# Another seed is another story: else nothing has been compared above.
my $third = small_design($node, 'postgres', ($arguments =~ s/seed => 7/seed => 8/r) . q{, name => 'third'});
ask("CALL ic_wait($third)");
isnt(ask("SELECT string_agg(loss::text, ' ' ORDER BY trial) FROM ic_trials($third)"),
  ask("SELECT string_agg(loss::text, ' ' ORDER BY trial) FROM ic_trials($first)"), 'another seed trains otherwise');

done_testing();
