# ic_apply: a design put to use on a table that is at work, without losing the pictures.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use ImagecalcServer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = start_server('apply', max_connections => 30);
load_pictures($node, 'postgres', 25);
my $id = small_design($node, 'postgres', q{epochs => 2, transfer_epochs => 1, buckets => 2, name => 'm'});

sub ask { return $node->safe_psql('postgres', $_[0]); }

# What a statement prints beside its result.
sub notices_of
{
  my ($statement, %options) = @_;
  my (undef, undef, $err) = $node->psql('postgres', $statement, %options);
  return $err;
}

sub is_refused
{
  my ($statement, $pattern, $name) = @_;
  like(notices_of($statement), qr/ERROR:  $pattern/, $name);
  return;
}

is_refused("CALL ic_apply($id)", qr/design $id has not chosen a format\nHINT:  CALL ic_wait\($id\)/, 'first it must have ended');
ask("CALL ic_wait($id)");
my $format = ask("SELECT format FROM ic_designs WHERE id = $id");
my $columns = "SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'pictures'::regclass AND attnum > 0";

# Twenty of each picture, some that cannot be read, and a row without one.
ask('INSERT INTO pictures (jpeg, label) SELECT jpeg, label FROM pictures, generate_series(1, 19)');
ask('INSERT INTO pictures (jpeg, label) SELECT substr(jpeg, 1, 1000), label FROM pictures WHERE id <= 3');
ask("INSERT INTO pictures (jpeg, label) VALUES ('no picture', 'x'), (NULL, 'x')");
ask('ANALYZE pictures');
my $rows = ask('SELECT count(*) FROM pictures');
my $encoded = 'SELECT count(jpeg_ic) FROM pictures';
my $wrong = "SELECT count(*) FROM pictures WHERE jpeg_ic IS DISTINCT FROM imagecalc.try_encode(jpeg, '$format', 3)";

# ---- dry runs

my $told = notices_of("CALL ic_apply($id, dry_run => true)");
like($told, qr/ALTER TABLE pictures ADD COLUMN jpeg_ic icimage\('\Q$format\E'\)/, 'a dry run tells the statements');
like($told, qr/about $rows pictures in about \d+ s/, 'the time');
like($told, qr/ACCESS EXCLUSIVE.*values take about \d+ kB/s, 'locks and space');
like(notices_of("CALL ic_apply($id, keep => false, dry_run => true)"),
  qr/ALTER TABLE public.pictures ALTER COLUMN jpeg TYPE icimage.*takes about \d+ s, while nobody else can read.*needs about/s,
  'also in place');
is(ask($columns), 'id,jpeg,label', 'and changes nothing');

# ---- without waiting in others' way, and with a pause

my $reader = $node->background_psql('postgres');
$reader->query_safe('BEGIN; SELECT count(*) FROM pictures');
my $apply = start_query($node, 'postgres', "CALL ic_apply($id)");
ok(wait_until(sub { $apply->{handle}->pump_nb; $apply->{err} =~ /waiting for others/ }), 'it waits for those who use the table');
my $took = seconds_of(sub { ask('SELECT count(*) FROM pictures') });
cmp_ok($took, '<', 5, "while it waits others can read: in $took s");
$reader->query_safe('COMMIT');
ok(wait_until(sub { ask("$columns AND attname = 'jpeg_ic'") && ask($encoded) > 0 }), 'then it begins');
my $page = q{SELECT substring(application_name FROM 'imagecalc apply: page (\d+) of \d+ of pictures') FROM pg_stat_activity WHERE query LIKE 'CALL ic_apply%'};
ok(wait_until(sub { (ask($page) || 0) > 0 }), 'others see how far it is');
ask(q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'CALL ic_apply%'});
my (undef, $err) = finish_query($apply);
like($err, qr/canceling statement due to user request/, 'a cancel ends it');
my $done = ask($encoded);
ok($done > 0 && $done < $rows - 5, "what it has encoded stays: $done of $rows");
is(ask('SELECT count(*) FROM pictures WHERE jpeg_ic IS NULL AND jpeg IS NOT NULL') + $done, $rows - 1, 'and nothing else has changed');

# ---- going on, beside others who write

my $writer = $node->background_psql('postgres');
$writer->query_safe("BEGIN; UPDATE pictures SET label = 'held' WHERE id BETWEEN 31 AND 40");
$apply = start_query($node, 'postgres', "CALL ic_apply($id)");
for my $turn (1 .. 20)
{
  ask("UPDATE pictures SET jpeg = (SELECT jpeg FROM pictures WHERE id = $turn) WHERE id % 50 = $turn + 10");
  ask("UPDATE pictures SET label = label || 'x' WHERE id % 40 = $turn");
  ask("INSERT INTO pictures (jpeg, label) SELECT jpeg, label FROM pictures WHERE id = $turn; DELETE FROM pictures WHERE id = 100 + $turn");
}
$writer->query_safe('COMMIT');
(my $out, $err) = finish_query($apply);
like($err, qr/encoded \d+ pictures; 4 files cannot be, there "jpeg_ic" is NULL/, 'it tells how many it encoded, and could not');
is($err =~ /ERROR/, '', 'and ends well') or diag($err);
is(ask($wrong), '0', 'every row has its value, whoever wrote it meanwhile');
is(ask($encoded), $rows - 5, 'all but those that have no picture');
is(ask("SELECT count(*) FROM pictures WHERE label = 'held'") > 0, 1, "and others' changes are there");
like(notices_of("CALL ic_apply($id)"), qr/encoded 0 pictures; 4 files/, 'once more, there is nothing to do');

# ---- from then on

ask("INSERT INTO pictures (jpeg, label) SELECT jpeg, 'new' FROM pictures WHERE id = 1");
ask("UPDATE pictures SET jpeg = (SELECT jpeg FROM pictures WHERE id = 2) WHERE id = 1");
ask('UPDATE pictures SET jpeg = NULL WHERE id = 3');
is(ask($wrong), '0', 'new pictures and changed ones get their values');
like(notices_of("INSERT INTO pictures (jpeg, label) VALUES ('no picture', 'new')"), qr/WARNING:  column "jpeg_ic" is NULL: /,
  'a file that is no picture is taken, with a warning');
is(ask("SELECT count(*) FROM pictures WHERE jpeg = 'no picture' AND jpeg_ic IS NULL"), '2', 'and kept as it is');
ask('DELETE FROM pictures WHERE jpeg_ic IS NULL');
like(notices_of("CALL ic_apply($id)"), qr/NOTICE:  encoded 0 pictures\n/, 'once those are gone it tells of none');
is(ask("SELECT count(*) FROM pictures WHERE ic_infer('m', jpeg_ic) <> ic_infer('m', jpeg)"), '0',
  'values are classified as their pictures');
ask('ALTER TABLE pictures RENAME COLUMN jpeg_ic TO small; ALTER TABLE pictures RENAME COLUMN jpeg TO file');
like(notices_of("INSERT INTO pictures (file, label) VALUES ('no picture', 'new')"), qr/WARNING:  column "small" is NULL: /,
  'columns may be renamed');
ask("DELETE FROM pictures WHERE small IS NULL; UPDATE pictures SET file = (SELECT file FROM pictures WHERE id = 7) WHERE id = 1");
is(ask("SELECT count(*) FROM pictures WHERE id IN (1, 7) AND small = ic_encode(file, '$format')"), '2', 'and are kept all the same');
ask('ALTER TABLE pictures RENAME COLUMN small TO jpeg_ic; ALTER TABLE pictures RENAME COLUMN file TO jpeg');
ask('UPDATE pictures SET jpeg_ic = (SELECT jpeg_ic FROM pictures WHERE id = 2) WHERE id = 5; UPDATE pictures SET jpeg_ic = NULL WHERE id = 6');
is(ask('SELECT (SELECT jpeg_ic FROM pictures WHERE id = 5) = (SELECT jpeg_ic FROM pictures WHERE id = 2)'), 't',
  'who writes another value has it');
is(ask("SELECT jpeg_ic = ic_encode(jpeg, '$format') FROM pictures WHERE id = 6"), 't', 'who takes one away gets that of the picture');
ask('UPDATE pictures SET jpeg_ic = NULL WHERE id = 5');
is(ask($wrong), '0', 'so that all are right again');
is_refused('ALTER TABLE pictures DROP COLUMN jpeg_ic', qr/cannot drop column jpeg_ic of table pictures because other objects depend on it/,
  'the column is not dropped without its trigger');
is_refused("CALL ic_apply($id, target => 'label')", qr/column "label" of pictures is text\nHINT:  Name another one/,
  'another column is not overwritten');
is_refused('CREATE TRIGGER t BEFORE INSERT OR UPDATE OF label, jpeg_ic ON pictures FOR EACH ROW EXECUTE FUNCTION imagecalc.keep_encoded(3);'
    . "INSERT INTO pictures (label) VALUES ('x')", qr/imagecalc.keep_encoded is for triggers/, 'nor is the trigger for anything else');

# ---- partitions

ask(<<"END");
ALTER TABLE pictures RENAME TO flat;
CREATE TABLE pictures (id bigint, jpeg bytea, label text) PARTITION BY RANGE (id);
CREATE TABLE first PARTITION OF pictures FOR VALUES FROM (MINVALUE) TO (50);
CREATE TABLE rest PARTITION OF pictures DEFAULT PARTITION BY HASH (id);
CREATE TABLE rest_0 PARTITION OF rest FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE rest_1 PARTITION OF rest FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO pictures SELECT id, jpeg, label FROM flat WHERE id <= 100;
CALL ic_apply($id, target => 'Value');
INSERT INTO pictures SELECT id, jpeg, label FROM flat WHERE id BETWEEN 101 AND 150;
END
is(ask(qq{SELECT count(*) FROM pictures WHERE "Value" IS DISTINCT FROM ic_encode(jpeg, '$format')}), '0',
  'in partitions of partitions, too, under any name');
ask(<<'END');
CREATE FOREIGN DATA WRAPPER nothing;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER nothing;
CREATE TABLE mixed (LIKE pictures) PARTITION BY RANGE (id);
ALTER TABLE pictures RENAME TO partitioned;
ALTER TABLE mixed RENAME TO pictures;
CREATE FOREIGN TABLE far PARTITION OF pictures DEFAULT SERVER elsewhere;
END
is_refused("CALL ic_apply($id)", qr/partition far of pictures is a foreign table\nHINT:  Detach it/, 'foreign partitions are left alone');
ask('DROP SERVER elsewhere CASCADE; DROP TABLE pictures, partitioned; ALTER TABLE flat RENAME TO pictures');

# ---- in place

ask('ALTER TABLE pictures DROP COLUMN jpeg_ic CASCADE');
is(ask("INSERT INTO pictures (jpeg, label) SELECT jpeg, 'last' FROM pictures WHERE id = 2 RETURNING label"), 'last',
  'but with it, and then pictures come in as before');
ask("CALL ic_apply($id, keep => false)");
is(ask("SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'pictures'::regclass AND attname = 'jpeg'"),
  "icimage('$format')", 'in place the column is converted');
is(ask("SELECT reloptions FROM pg_class WHERE oid = 'pictures'::regclass"), '{toast_tuple_target=8160}', 'for values in line');
is_refused("CALL ic_apply($id)", qr/column "jpeg" of pictures is icimage, not bytea\nHINT:  It may have been converted/, 'once');

# ---- whose it is

ask('CREATE ROLE other LOGIN');
like(notices_of("CALL ic_apply($id)", extra_params => [ '-U', 'other' ]), qr/ERROR:  design $id does not exist, or is not yours/,
  "others' designs are not applied");
ask('DROP TABLE pictures');
is_refused("CALL ic_apply($id)", qr/the design's table public.pictures does not exist any more/, 'nor to a table that is gone');

done_testing();
