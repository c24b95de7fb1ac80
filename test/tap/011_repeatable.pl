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

my $arguments = q{latency => '1s', epochs => 3, transfer_epochs => 1, buckets => 4};
my $first = small_design($node, 'postgres', "$arguments, seed => 7, name => 'first'");
ask("CALL ic_wait($first)");

# Another one with these arguments, whose costs are the first's: there before its worker begins, which then measures none.
sub another
{
  my ($more) = @_;
  my $id = $node->safe_psql('postgres', 'BEGIN;' . small_design_call("$arguments, $more") . <<"END");
INSERT INTO imagecalc.candidate (design, format, stem, bytes, bytes_deviation, fetch_us, decode_us, transfer_us, model_us, single_us,
                                 latency_measured, refusal)
  SELECT (SELECT max(id) FROM imagecalc.design), format, stem, bytes, bytes_deviation, fetch_us, decode_us, transfer_us, model_us, single_us,
         latency_measured, refusal
  FROM imagecalc.candidate WHERE design = $first;
COMMIT;
END
  ask("CALL ic_wait($id)");
  return $id;
}
my $second = another(q{seed => 7, name => 'second'});

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
is(ask(q{SELECT count(*) || ' with ' || count(DISTINCT hash) FROM imagecalc.model WHERE name IN ('first', 'second')}), '2 with 1', 'weights');

# Else nothing has been compared above.
sub losses { return ask("SELECT string_agg(loss::text, ' ' ORDER BY trial) FROM ic_trials($_[0])"); }
isnt(losses(another(q{seed => 8, name => 'third'})), losses($first), 'another seed trains otherwise');
isnt(losses(another(q{seed => 7, augmentation => 'flip', name => 'flipped'})), losses($first), 'and so does another augmentation');

done_testing();
