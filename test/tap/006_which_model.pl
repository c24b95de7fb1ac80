# Which model answers: the one that the query's snapshot sees, wherever its row has come from.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use ImagecalcServer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $publisher = start_server('publisher', allows_streaming => 'logical');
my $model = script_model();
my $labels = cnn_labels();
my $format = '1x1/b8/k3/q20@64';
load_pictures($publisher, 'postgres', 5);
$publisher->safe_psql('postgres', <<"SQL");
CREATE TABLE images AS SELECT id, ic_encode(jpeg, '$format') AS image FROM pictures;
SELECT ic_import_model('m', '$model', labels => '$labels', input => '$format');
SQL

my $all = q{SELECT string_agg(ic_infer('m', image), ',' ORDER BY id) FROM images};
my $one = q{SELECT ic_infer('m', image) FROM images WHERE id = 1};

# Gives the model other labels, in a new version of its row.
sub relabel
{
  my ($label) = @_;
  $publisher->safe_psql('postgres',
    "UPDATE imagecalc.model SET labels = array_fill('$label'::text, ARRAY[array_length(labels, 1)]) WHERE name = 'm'");
  return;
}

# ---- snapshots

my $first = $publisher->safe_psql('postgres', $one);
my $old = $publisher->background_psql('postgres', on_error_stop => 0);
$old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
is($old->query_safe($one), $first, 'a read-only transaction infers');
my $other = $publisher->background_psql('postgres');
is($other->query_safe($one), $first, 'another session knows the model, too');
relabel('second');
is($other->query_safe($one), 'second', 'its next query sees the row as it is now');
is($old->query_safe($one), $first, 'an older snapshot still sees the old one');
is($publisher->safe_psql('postgres', $one), 'second', 'a new session sees the new one');
$old->query_safe('COMMIT');
is($old->query_safe($one), 'second', 'after its transaction the first session does, too');
$publisher->safe_psql('postgres', 'VACUUM FULL imagecalc.model');
is($other->query_safe($one), 'second', 'a row that has moved is found');
$publisher->safe_psql('postgres', <<"SQL");
DROP EXTENSION imagecalc CASCADE;
CREATE EXTENSION imagecalc;
ALTER TABLE images ADD image icimage;
UPDATE images SET image = ic_encode(jpeg, '$format') FROM pictures WHERE pictures.id = images.id;
SELECT ic_import_model('m', '$model', labels => '$labels', input => '$format');
SQL
is($other->query_safe($one), $first, 'and one of a table that was made anew');

# What a rolled back transaction saw must not be what the next one sees, though the numbers of their commands and of all other
# transactions are the same: an older one is still at work, and a younger one has ended.
my $running = $publisher->background_psql('postgres');
$running->query_safe('BEGIN; SELECT pg_current_xact_id()');
$publisher->safe_psql('postgres', 'CREATE TABLE notes (note text)');
my $import = "SELECT ic_import_model('new', '$model', labels => '$labels', input => '$format')";
my $use = q{SELECT ic_infer('new', image) FROM images WHERE id = 1};
my $younger = q{INSERT INTO notes VALUES ('of a younger transaction')};
my $command = q{INSERT INTO notes VALUES ('a command') RETURNING cmin};
$old->query_safe("BEGIN; $import");
my $last = $old->query_safe($command);
$publisher->safe_psql('postgres', $younger);
is($old->query_safe($use), $first, 'a transaction uses the model that it has imported');
$old->query_safe('ROLLBACK; BEGIN');
is($old->query_safe($command), $_, 'commands count from 0') for 0 .. $last;
$old->query($use);
like($old->{stderr}, qr/model "new" does not exist/, 'the next one does not find it');
$old->{stderr} = '';
$old->query_safe("ROLLBACK; BEGIN; SAVEPOINT before; $import");
$publisher->safe_psql('postgres', $younger);
is($old->query_safe($use), $first, 'it is used after a savepoint');
$old->query_safe('ROLLBACK TO before');
$old->query($use);
like($old->{stderr}, qr/model "new" does not exist/, 'and not once that has been rolled back');
$old->{stderr} = '';
$old->query_safe("ROLLBACK; BEGIN; $import");
is($old->query_safe($use), $first, 'it is used once more');
$old->query_safe(q{SELECT ic_drop_model('new')});
$old->query($use);
like($old->{stderr}, qr/model "new" does not exist/, 'and not once the same transaction has dropped it');
$old->{stderr} = '';
$old->query_safe('ROLLBACK');
$running->query_safe('COMMIT');
$running->quit;

# Row security may decide by what no snapshot shows.
$publisher->safe_psql('postgres', <<'SQL');
CREATE ROLE tenant LOGIN;
GRANT SELECT ON images TO tenant;
ALTER TABLE imagecalc.model ENABLE ROW LEVEL SECURITY;
CREATE POLICY by_setting ON imagecalc.model USING (current_setting('app.sees', true) = 'models');
SQL
my $tenant = $publisher->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'tenant' ]);
$tenant->query_safe(q{SET app.sees = 'models'});
is($tenant->query_safe($one), $first, 'row security lets a setting see models');
$tenant->query_safe(q{SET app.sees = 'none'});
$tenant->query($one);
like($tenant->{stderr}, qr/model "m" does not exist/, 'and hides them again, under the same snapshot');
$tenant->quit;
$publisher->safe_psql('postgres', 'DROP POLICY by_setting ON imagecalc.model; ALTER TABLE imagecalc.model DISABLE ROW LEVEL SECURITY');
$_->quit for $old, $other;

# ---- logical replication

my $subscriber = start_server('subscriber');
$publisher->safe_psql('postgres', 'CREATE PUBLICATION models FOR TABLE imagecalc.model');
my $connection = $publisher->connstr('postgres');
$subscriber->safe_psql('postgres', <<"SQL");
CREATE EXTENSION imagecalc;
CREATE TABLE images (id bigint, image icimage);
SQL
$subscriber->safe_psql('postgres', "CREATE SUBSCRIPTION models CONNECTION \$\$$connection\$\$ PUBLICATION models");
$subscriber->wait_for_subscription_sync($publisher, 'models');
my $values = $publisher->safe_psql('postgres', 'COPY images TO STDOUT');
$subscriber->safe_psql('postgres', "COPY images FROM STDIN;\n$values\n\\.\n");

my $reader = $subscriber->background_psql('postgres');
is($reader->query_safe($all), $publisher->safe_psql('postgres', $all), 'a replicated model gives the same answers');
relabel('third');
$publisher->wait_for_catchup('models');
is($reader->query_safe($one), 'third', 'what changes there changes here');
$publisher->safe_psql('postgres',
  "SELECT ic_drop_model('m'); SELECT ic_import_model('m', '$model', input => '$format')");
$publisher->wait_for_catchup('models');
is($reader->query_safe($all), $publisher->safe_psql('postgres', $all), 'as does what is dropped and made anew');
$reader->quit;
$subscriber->stop;
$publisher->stop;

done_testing();
