# Values, models and designs go along with pg_dump, base backups and streaming replication.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use ImagecalcServer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = start_server('primary', allows_streaming => 1);
my $model = script_model();
my $labels = cnn_labels();
load_pictures($primary, 'postgres', 25);
my $done = small_design($primary, 'postgres', q{buckets => 2, epochs => 3, transfer_epochs => 2, name => 'designed'});
my $cancelled = small_design($primary, 'postgres', q{buckets => 2, epochs => 20000, name => 'never'});
$primary->safe_psql('postgres', "CALL ic_wait($done)");
my $begun = "SELECT phase ~ '^trial 1' FROM ic_progress WHERE design = $cancelled";
ok(wait_until(sub { $primary->safe_psql('postgres', $begun) eq 't' }),
  'one design is done, another under way');
$primary->safe_psql('postgres', "SELECT ic_cancel($cancelled)");
ok(wait_until(sub { !runners($primary, 'train') }), 'and then cancelled');

$primary->safe_psql('postgres', <<"END");
SELECT ic_import_model('imported', '$model', labels => '$labels', input => '2x2r/b16/k4/q20\@64');
CREATE TABLE images (
    id bigint PRIMARY KEY, designed icimage, fixed icimage('2x2r/b16/k4/q20\@64') NOT NULL, native icimage UNIQUE);
INSERT INTO images SELECT p.id, ic_encode(p.jpeg, d.format), p.jpeg, ic_encode(p.jpeg, '4x4/b8/k2/q50')
    FROM (SELECT * FROM pictures ORDER BY id LIMIT 30) AS p, ic_designs AS d WHERE d.id = $done;
CREATE INDEX images_fixed ON images USING hash (fixed);
CREATE VIEW small AS SELECT id, fixed::icimage('1x1/b8/k2/q50\@32') AS image FROM images;
END

# What must be the same wherever the data are.
my %same = (
  'the columns\' types' => q{SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
    WHERE attrelid IN ('images'::regclass, 'small'::regclass) AND attnum > 0 ORDER BY attrelid::regclass::text, attnum},
  'the values' => q{SELECT count(*), md5(string_agg(designed::text || fixed::text || native::text, ',' ORDER BY id))
    FROM images},
  'what a view makes of them' => q{SELECT md5(string_agg(image::text, ',' ORDER BY id)) FROM small},
  'the models' => q{SELECT * FROM ic_models ORDER BY name},
  'their answers' => q{SELECT string_agg(ic_infer('designed', designed) || ic_infer('imported', fixed), ',' ORDER BY id),
    md5(string_agg((SELECT string_agg(round(s::numeric, 3)::text, ' ') FROM unnest(ic_scores('designed', designed)) AS s),
      ',' ORDER BY id)) FROM images},
  # But for the estimate in the DDL, which goes by statistics that a dump leaves behind.
  'the designs' => q{SELECT id, state, relation, owner, format, model, regexp_replace(ddl, '-- .*?\n', ''), accuracy, bytes,
    latency_us, training_images FROM ic_designs ORDER BY id},
  'their trials' => q{SELECT d.id, t.* FROM ic_designs AS d, ic_trials(d.id) AS t ORDER BY d.id, t.trial},
  'their predictions' => "SELECT count(*), md5(string_agg(e::text, ',' ORDER BY format)) FROM ic_explore($done) AS e",
);
my %wanted = map { $_ => $primary->safe_psql('postgres', $same{$_}) } keys %same;
like($wanted{'the designs'}, qr/^$done\|done\|public\.pictures\|.*\n$cancelled\|cancelled\|public\.pictures\|/,
  'there is something to compare');

sub compare
{
  my ($node, $database, $where) = @_;
  is($node->safe_psql($database, $same{$_}), $wanted{$_}, "$where: $_") for sort keys %same;
  return;
}

# ---- dump and restore

my $folder = PostgreSQL::Test::Utils::tempdir;
$primary->command_ok([ 'pg_dump', '-f', "$folder/dump.sql", '-d', $primary->connstr('postgres') ], 'pg_dump');
$primary->safe_psql('postgres', 'CREATE DATABASE restored');
$primary->command_ok(
  [ 'psql', '-Xq1', '-vON_ERROR_STOP=1', '-o', '/dev/null', '-d', $primary->connstr('restored'), '-f', "$folder/dump.sql" ],
  'its script is restored without an error');
compare($primary, 'restored', 'restored');
is($primary->safe_psql('restored', 'SELECT count(*) FROM imagecalc.weights'), '0', 'the weights of trials stay behind');
$primary->safe_psql('restored', "SELECT ic_resume($cancelled)");
my $state = "SELECT state FROM ic_progress WHERE design = $cancelled";
ok(wait_until(sub { $primary->safe_psql('restored', $state) eq 'failed' }), 'so a design that was not done cannot go on');
like($primary->safe_psql('restored', "SELECT error FROM ic_progress WHERE design = $cancelled"),
  qr/^the weights of trial 0 of design $cancelled are gone\. They are not part of a dump; design anew/, 'and says why');
my $next = small_design($primary, 'restored', q{epochs => 20000});
cmp_ok($next, '>', $cancelled, 'a new design gets a number of its own');
$primary->safe_psql('restored', "SELECT ic_cancel($next)");

$primary->command_ok([ 'pg_dump', '-Fc', '-f', "$folder/dump.custom", '-d', $primary->connstr('postgres') ],
  'pg_dump, custom format');
$primary->safe_psql('postgres', 'CREATE DATABASE again');
$primary->command_ok([ 'pg_restore', '-j', '2', '--exit-on-error', '-d', $primary->connstr('again'), "$folder/dump.custom" ],
  'pg_restore');
compare($primary, 'again', 'restored in parallel');
$primary->safe_psql('again', "DELETE FROM imagecalc.design WHERE id = $done");
is($primary->safe_psql('again', join(' UNION ', map { "SELECT design FROM imagecalc.$_ WHERE design = $done" } qw(candidate ranking trial weights))),
  '', 'what belongs to a design goes with it');

# ---- a standby, from a base backup taken while the runner is up

is(scalar(runners($primary, 'serve')), 1, 'the runner is up');
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
$primary->wait_for_catchup($standby);
compare($standby, 'postgres', 'on a standby');
is(scalar(runners($standby, 'serve')), 1, 'by a runner of its own');

$primary->safe_psql('postgres',
  "SELECT ic_import_model('new', '$model', labels => '$labels', input => '2x2r/b16/k4/q20\@64')");
$primary->wait_for_catchup($standby);
my $new = q{SELECT ic_infer('new', fixed) FROM images WHERE id = 1};
is($standby->safe_psql('postgres', $new), $primary->safe_psql('postgres', $new),
  'a model that is imported on the primary answers on the standby');
my $picture = q{SELECT ic_infer('imported', jpeg) FROM pictures WHERE id = 1};
is($standby->safe_psql('postgres', $picture), $primary->safe_psql('postgres', $picture),
  'pictures are classified there, too');

my %refused = (
  "SELECT ic_design('pictures', '$model', storage => 60, size => 32)" => 'a design',
  "SELECT ic_import_model('more', '$model', input => 'rgb\@32')" => 'an import',
  "SELECT ic_drop_model('imported')" => 'a drop',
  "SELECT ic_resume($cancelled)" => 'a resumption');
for my $statement (sort keys %refused)
{
  my (undef, undef, $err) = $standby->psql('postgres', "\\set VERBOSITY sqlstate\n$statement");
  like($err, qr/ERROR:  25006$/m, "$refused{$statement} on a standby is refused: it is read-only");
}
my (undef, undef, $notice) = $standby->psql('postgres', "CALL ic_wait($done)");
like($notice, qr/NOTICE:  design $done: done/, 'ic_wait works there');

# ---- promoted, it takes over

$standby->promote;
$standby->safe_psql('postgres', "SELECT ic_import_model('after', '$model', labels => '$labels', input => 'rgb\@32')");
is($standby->safe_psql('postgres', $new), $primary->safe_psql('postgres', $new), 'after its promotion it still answers');
my $there = small_design($standby, 'postgres', q{buckets => 2, epochs => 1, transfer_epochs => 1, name => 'there'});
is($standby->safe_psql('postgres', "CALL ic_wait($there); SELECT state FROM ic_designs WHERE id = $there"), 'done',
  'and designs');
$standby->stop;
$primary->stop;

done_testing();
