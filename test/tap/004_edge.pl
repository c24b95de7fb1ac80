# imagecalc-encode: the same bytes as the server's ic_encode, and a stream that psql loads.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use File::Copy qw(copy);
use ImagecalcServer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_server('edge');
my $folder = PostgreSQL::Test::Utils::tempdir();
my ($stream, $single) = ("$folder.copy", "$folder.value");
my $format = '1x1/b32/k6/q50@256';

# Runs it by a shell line; its exit status and what it said on standard error.
sub encode
{
  my ($line) = @_;
  IPC::Run::run([ 'sh', '-c', "imagecalc-encode $line" ], '<', \undef, '>', \my $out, '2>', \my $err);
  return ($? >> 8, $err);
}

sub load_stream
{
  my ($table) = @_;
  my ($status, $out, $err) = $node->psql('postgres', <<"END");
CREATE TABLE $table (place serial, file text, image icimage('$format'));
\\copy $table (file, image) FROM '$stream' (FORMAT binary)
END
  return ($status, $err);
}

# Whether what was written for a single picture is this value, which SQL computes.
sub is_value
{
  my ($sql) = @_;
  return $node->safe_psql('postgres', "SELECT encode(pg_read_binary_file('$single'), 'hex') = substr(($sql)::text, 3)");
}

sub write_bytes
{
  my ($path, $bytes) = @_;
  open(my $file, '>:raw', $path) or die "$path: $!";
  print $file $bytes;
  close($file);
  return;
}

$node->safe_psql('postgres', 'CREATE EXTENSION imagecalc');

# ---- an empty folder

is_deeply([ encode("'$format' '$folder' >'$stream'") ], [ 0, total(0, '0.0') ], 'an empty folder is well');
is_deeply([ load_stream('nothing') ], [ 0, '' ], 'its stream loads');
is($node->safe_psql('postgres', 'SELECT count(*) FROM nothing'), '0', 'and holds no row');

# ---- a folder of pictures, some below, with other files and a damaged one in between

my @pictures = sort glob("$ENV{IMAGECALC_PICTURES}/*.jpg $ENV{IMAGECALC_PICTURES}/*.jpeg");
@pictures = @pictures[ grep { $_ % (1 + int(@pictures / 60)) == 0 } 0 .. $#pictures ];
mkdir "$folder/below" or die $!;
for my $n (0 .. $#pictures)
{
  my $name = sprintf('%03d', $n);
  copy($pictures[$n], $n % 2 ? "$folder/below/$name \x{c3}\x{a4}.jpg" : "$folder/$name") or die $!;
}
my $good = slurp_file($pictures[0]);
write_bytes("$folder/readme", 'no picture');
write_bytes("$folder/empty.JPG", '');
write_bytes("$folder/001-damaged.jpg", substr($good, 0, length($good) / 2));

my ($status, $err) = encode("'$format' '$folder' >'$stream'");
is($status, 1, 'a damaged picture shows in the exit status');
like($err, qr/^imagecalc-encode: 001-damaged\.jpg: .+\nimagecalc-encode: empty\.JPG: .+\n[^\n]+\n\z/, 'each in one line');
my $count = @pictures;
like($err, qr/^imagecalc-encode: $count pictures, \d+\.\d MB; left out: 2; other files: 1\n\z/m, 'and all are counted');
is_deeply([ load_stream('images') ], [ 0, '' ], 'the stream loads');
is($node->safe_psql('postgres', 'SELECT count(*) FROM images'), scalar(@pictures), 'with all the others');
is($node->safe_psql('postgres', <<"END"), 't', 'in which every value is what ic_encode gives');
SELECT bool_and(image = ic_encode(pg_read_binary_file('$folder/' || file), '$format')) FROM images
END
is(
  $node->safe_psql('postgres', 'SELECT file FROM images ORDER BY place'),
  $node->safe_psql('postgres', 'SELECT file FROM images ORDER BY file COLLATE "C"'),
  'the rows are in the order of the paths');

my $bytes = slurp_file($stream);
encode("--jobs 1 '$format' '$folder' >'$stream'");
ok(slurp_file($stream) eq $bytes, 'one thread writes the same stream');
encode("--jobs 5 '$format' '$folder' >'$stream'");
ok(slurp_file($stream) eq $bytes, 'and so do five');
encode("--level 12 '$format' '$folder' >'$stream'");
load_stream('strong');
is($node->safe_psql('postgres', <<"END"), 't', 'a level is the one of the setting');
SET imagecalc.compression_level = 12;
SELECT bool_and(image = ic_encode(pg_read_binary_file('$folder/' || file), '$format')) FROM strong
END

# ---- one picture

my $exif = "Exif\0\0MM\0*" . pack('NnnnNnnN', 8, 1, 0x0112, 3, 1, 6, 0, 0);
write_bytes("$folder/turned", substr($good, 0, 2) . "\xFF\xE1" . pack('n', 2 + length($exif)) . $exif . substr($good, 2));
is_deeply([ encode("'$format' <'$folder/000' >'$single'") ], [ 0, '' ], 'one picture is encoded');
is(is_value("ic_encode(pg_read_binary_file('$folder/000'), '$format')"), 't', 'to the bytes of ic_encode');
is_deeply([ encode("--upright '4x4/b8/k4/q20' <'$folder/turned' >'$single'") ], [ 0, '' ], 'one with an orientation, too');
my $turned = "pg_read_binary_file('$folder/turned'), '4x4/b8/k4/q20'";
is(is_value("ic_encode($turned, upright => true)"), 't', 'at its own size and upright');
is(is_value("ic_encode($turned)"), 'f', 'since that was asked for');
unlink "$folder/turned" or die $!;
is_deeply([ encode("--preview '$format' <'$folder/000' >'$single'") ], [ 0, '' ], 'and shown');
is($node->safe_psql('postgres', <<"END"), 't', 'as ic_to_png shows it');
SELECT pg_read_binary_file('$single') = ic_to_png(ic_encode(pg_read_binary_file('$folder/000'), '$format'))
END
($status, $err) = encode("'$format' <'$folder/001-damaged.jpg' >'$single'");
is($status, 1, 'a damaged one fails');
is(-s $single, 0, 'and writes nothing');
($status, $err) = encode("--max-pixels 10 '$format' <'$folder/000' >'$single'");
like($err, qr/--max-pixels/, 'a picture that is too large names the option');

# ---- what goes wrong

SKIP:
{
  skip 'root may read every folder', 2 if $> == 0;
  mkdir "$folder/closed", 0 or die $!;
  my ($status, $err) = encode("'$format' '$folder' >'$stream'");
  rmdir "$folder/closed" or die $!;
  like($err, qr{^imagecalc-encode: closed/: could not read the folder: Permission denied$}m, 'a closed folder is told');
  ok(slurp_file($stream) eq $bytes, 'and the others are in the stream');
}

is_deeply([ encode("'$format' '$folder' >/dev/full") ],
  [ 1, damage() . "imagecalc-encode: could not write the output: No space left on device\n" ],
  'a full disk is told');
is_deeply([ encode("'$format' <'$folder/000' >/dev/full") ],
  [ 1, "imagecalc-encode: could not write the output: No space left on device\n" ], 'for one picture, too');
IPC::Run::run([ 'bash', '-c', "imagecalc-encode 1x1/b8/k8/q1 '$folder' | head -c 1; exit \${PIPESTATUS[0]}" ],
  '>', \my $first, '2>', \$err);
is($? >> 8, 1, 'a reader that goes early is told');
like($err, qr/could not write the output: Broken pipe\n\z/, 'as well');
($status, $err) = encode("'$format' '$folder/none' >'$single'");
is_deeply([ $status, $err ], [ 1, "imagecalc-encode: could not read folder $folder/none: No such file or directory\n" ],
  'a missing folder is told');
is((encode("'1x1/b9/k1/q50' '$folder' >'$single'"))[0], 2, 'a wrong format is a wrong use');
is((encode("--help >'$single'"))[0], 0, '--help helps');
like(slurp_file($single), qr/\\copy images/, 'with the line for psql');

# ---- without its own libraries

my ($libraries) = run_command([ 'sh', '-c', 'ldd $(command -v imagecalc-encode)' ]);
like($libraries, qr/libjpeg/, 'ldd shows what it is linked with');
unlike($libraries, qr/torch|libpq|postgres/, 'which is neither LibTorch nor Postgres');

$node->stop;
done_testing();

# What is said of the folder where the disk has room, but for the count.
sub damage { return (encode("'$format' '$folder' >'$single'"))[1] =~ s/[^\n]+\n\z//r; }

sub total { return sprintf("imagecalc-encode: %d pictures, %s MB\n", @_); }
