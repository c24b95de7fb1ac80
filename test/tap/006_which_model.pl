# Which model answers: the one that the query's snapshot sees, wherever its row has come from.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use ImagecalcServer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $publisher = start_server('publisher', allows_streaming => 'logical', autovacuum => 'off');
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
my $other = $publisher->background_psql('postgres', on_error_stop => 0);
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
$other->query_safe($one);
is($other->query_safe("BEGIN; $one; COMMIT"), $first, 'it is used again');
$other->query_safe("BEGIN; $one");
is($other->query_safe(q{SELECT count(*) FROM pg_locks WHERE relation = 'imagecalc.model'::regclass AND pid = pg_backend_pid()}),
  0, 'without asking for it as long as no transaction has ended');
$other->query_safe('COMMIT');

# ---- what a transaction has done itself

sub fails_with
{
  my ($session, $query, $message, $name) = @_;
  $session->query($query);
  like($session->{stderr}, $message, $name);
  $session->{stderr} = '';
  return;
}

my $import = "SELECT ic_import_model('new', '$model', labels => '$labels', input => '$format')";
my $use = q{SELECT ic_infer('new', image) FROM images WHERE id = 1};
my $no_model = qr/model "new" does not exist/;
$old->query_safe("BEGIN; $import");
is($old->query_safe($use), $first, 'a transaction uses the model that it has imported');
$old->query_safe(q{SELECT ic_drop_model('new')});
fails_with($old, $use, $no_model, 'and does not once it has dropped it');
$old->query_safe("ROLLBACK; BEGIN; SAVEPOINT before; $import");
is($old->query_safe($use), $first, 'it is used after a savepoint');
$old->query_safe('ROLLBACK TO before');
fails_with($old, $use, $no_model, 'and not once that has been rolled back');
$old->query_safe("ROLLBACK; BEGIN; TRUNCATE imagecalc.model; $import");
is($old->query_safe($use), $first, 'it is used in a table that has been emptied');
$old->query_safe('TRUNCATE imagecalc.model');
fails_with($old, $use, $no_model, 'and not once that has been emptied again');
$old->query_safe('ROLLBACK');

# ---- what snapshots do not show

# A session that has written in so many subtransactions, and not committed.
sub subtransactions
{
  my ($count) = @_;
  my $session = $publisher->background_psql('postgres');
  $session->query_safe('BEGIN');
  $session->query_safe("SAVEPOINT s; INSERT INTO notes VALUES ('in a subtransaction'); RELEASE s") for 1 .. $count;
  return $session;
}

$publisher->safe_psql('postgres', <<'SQL');
CREATE ROLE tenant LOGIN;
CREATE ROLE reader LOGIN;
GRANT SELECT ON images TO tenant, reader;
CREATE TABLE notes (note text);
SQL
my $tenant = $publisher->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'tenant' ]);
is($tenant->query_safe($one), $first, 'another user may use a model');
$tenant->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
$publisher->safe_psql('postgres', 'REVOKE SELECT ON imagecalc.model FROM PUBLIC');
fails_with($tenant, $one, qr/permission denied for table model/, 'a privilege is gone for older snapshots, too');
$tenant->query_safe('ROLLBACK');
is($other->query_safe($one), $first, 'the owner still may');
$other->query_safe('SET ROLE tenant');
fails_with($other, $one, qr/permission denied for table model/, 'and not as the other user, under the same snapshot');
$other->query_safe('RESET ROLE');
$publisher->safe_psql('postgres', <<'SQL');
GRANT SELECT ON imagecalc.model TO PUBLIC;
ALTER TABLE imagecalc.model ENABLE ROW LEVEL SECURITY;
CREATE POLICY by_setting ON imagecalc.model USING (current_setting('app.sees', true) = 'models');
SQL
$tenant->query_safe(q{SET app.sees = 'models'});
is($tenant->query_safe($one), $first, 'row security lets a setting see models');
$tenant->query_safe(q{SET app.sees = 'none'});
fails_with($tenant, $one, qr/model "m" does not exist/, 'and hides them again, under the same snapshot');
$publisher->safe_psql('postgres', <<'SQL');
ALTER TABLE imagecalc.model DISABLE ROW LEVEL SECURITY;
REVOKE SELECT ON imagecalc.model FROM PUBLIC;
GRANT SELECT (name, hash, input, mean, deviation, labels, engine, device, bf16_accuracy_loss) ON imagecalc.model TO tenant;
SQL
fails_with($tenant, $one, qr/permission denied for table model/, 'some columns are not enough: what tells versions apart is missing');
$publisher->safe_psql('postgres', 'GRANT SELECT ON imagecalc.model TO PUBLIC');
$tenant->quit;
$publisher->safe_psql('postgres', 'DROP POLICY by_setting ON imagecalc.model');

# What another session takes away in the middle of a transaction counts at once: its tables are locked already, so that nothing
# else tells it of the change.
for my $change (
  [ 'REVOKE SELECT ON imagecalc.model FROM PUBLIC',
    'GRANT SELECT ON imagecalc.model TO PUBLIC', qr/permission denied for table model/ ],
  [ 'REVOKE USAGE ON SCHEMA imagecalc FROM PUBLIC',
    'GRANT USAGE ON SCHEMA imagecalc TO PUBLIC', qr/permission denied for schema imagecalc/ ],
  [ 'ALTER TABLE imagecalc.model ENABLE ROW LEVEL SECURITY',
    'ALTER TABLE imagecalc.model DISABLE ROW LEVEL SECURITY', qr/model "m" does not exist/ ])
{
  my ($away, $back, $message) = @$change;
  my $user = $publisher->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'reader' ]);
  $user->query_safe($one);
  is($user->query_safe("BEGIN; $one"), $first, "before: $away");
  $publisher->safe_psql('postgres', $away);
  fails_with($user, $one, $message, "after: $away");
  $user->quit;
  $publisher->safe_psql('postgres', $back);
}

# Only a query that reads the model's row shows that another transaction's change of it came later.
$old->query_safe($one);
$old->query_safe("BEGIN ISOLATION LEVEL SERIALIZABLE; $one");
$other->query_safe('BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM notes');
$old->query_safe(q{INSERT INTO notes VALUES ('by the old model')});
$other->query_safe(q{UPDATE imagecalc.model SET labels = labels WHERE name = 'm'});
$old->query_safe('COMMIT');
fails_with($other, 'COMMIT', qr/could not serialize access/, 'whose change then is not serializable');

# A snapshot with more subtransactions than it can list, seen after and before transactions with few.
my @writers = map { subtransactions($_) } 1, 100, 1;
$publisher->safe_psql('postgres', q{INSERT INTO notes VALUES ('so that snapshots look at what is older')});
is($other->query_safe($one), $first, 'a snapshot may leave subtransactions out') for 1 .. 2;
$_->quit for @writers;
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
