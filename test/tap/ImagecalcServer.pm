# What the server-level tests share: a server with pictures and models, queries in the background, and a look at processes.
package ImagecalcServer;

use strict;
use warnings;

use Exporter 'import';
use File::Basename qw(basename);
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(start_server start_server_of load_pictures script_model cnn_labels start_query finish_query wait_until
  descendants runners parent_of maps_torch is_alive seconds_of small_design small_design_call);

my $pictures = $ENV{IMAGECALC_PICTURES} or die "IMAGECALC_PICTURES is not set\n";
my $models = $ENV{IMAGECALC_MODELS} or die "IMAGECALC_MODELS is not set\n";

sub script_model { return "$models/small-cnn-script.pt"; }

sub start_server { return start_server_of(undef, @_); }

# home: the installation whose bin/postgres it is; undef: the usual one.
sub start_server_of
{
  my ($home, $name, %settings) = @_;
  my $node = PostgreSQL::Test::Cluster->new($name, $home ? (install_path => $home) : ());
  $node->init(allows_streaming => delete $settings{allows_streaming} // 0);
  $node->append_conf('postgresql.conf', "$_ = $settings{$_}") for sort keys %settings;
  $node->start;
  return $node;
}

# The labels that the model's outputs stand for, as an array literal.
sub cnn_labels
{
  my %seen;
  open(my $file, '<', "$pictures/labels.csv") or die "no labels.csv: $!\n";
  <$file>;
  while (<$file>) { $seen{(split /,/)[1]} = 1; }
  return '{' . join(',', sort keys %seen) . '}';
}

# The first pictures of every label, in the table `pictures`.
sub load_pictures
{
  my ($node, $database, $of_each_label) = @_;
  $node->safe_psql($database, <<"END");
CREATE EXTENSION IF NOT EXISTS imagecalc;
CREATE TEMP TABLE listed (file text, label text, split text);
COPY listed FROM '$pictures/labels.csv' (FORMAT csv, HEADER);
CREATE TABLE pictures (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, jpeg bytea, label text);
INSERT INTO pictures (jpeg, label)
    SELECT pg_read_binary_file('$pictures/' || file), label
    FROM (SELECT *, row_number() OVER (PARTITION BY label ORDER BY file) AS place FROM listed) AS l
    WHERE place <= $of_each_label ORDER BY place, label;
END
  return;
}

# A call of ic_design with settings that make it small, and more.
sub small_design_call
{
  my ($more) = @_;
  my $model = script_model();
  return "SELECT ic_design('pictures', '$model', storage => 60, size => 32, sampled_buckets => 2, trials_per_bucket => 2, $more);";
}

# Makes that call; returns the design's id.
sub small_design
{
  my ($node, $database, $more) = @_;
  return $node->safe_psql($database, small_design_call($more));
}

# A query that is left to run; finish_query waits for it.
sub start_query
{
  my ($node, $database, $sql) = @_;
  my %query = (out => '', err => '');
  $query{handle} = IPC::Run::start(
    [ $node->installed_command('psql'), '-XAtq', '-d', $node->connstr($database), '-c', $sql ],
    '<', \undef, '>', \$query{out}, '2>', \$query{err}, IPC::Run::timeout(180));
  return \%query;
}

sub finish_query
{
  my ($query) = @_;
  $query->{handle}->finish;
  chomp $query->{out};
  return ($query->{out}, $query->{err});
}

# Asks the question until the answer is true; the answer, or false when it took too long.
sub wait_until
{
  my ($question, $seconds) = @_;
  my $end = time + ($seconds // 60);
  while (1)
  {
    my $answer = $question->();
    return $answer if $answer || time > $end;
    sleep 0.05;
  }
}

sub seconds_of
{
  my ($work) = @_;
  my $begin = time;
  $work->();
  return time - $begin;
}

sub stat_fields
{
  my ($pid) = @_;
  open(my $file, '<', "/proc/$pid/stat") or return;
  my $line = <$file> // return;
  return $line =~ /^\d+ \(.*\) (\S) (\d+)/ ? ($1, $2) : ();    # state, parent
}

# A process whose first thread is a zombie keeps its files open as long as other threads live.
sub is_alive
{
  my ($pid) = @_;
  my ($state) = stat_fields($pid);
  return defined $state && ($state ne 'Z' || scalar(my @threads = glob("/proc/$pid/task/*")) > 1);
}

sub parent_of { return (stat_fields($_[0]))[1]; }

# All processes below this one.
sub descendants
{
  my ($root) = @_;
  my %parent;
  for my $pid (map { basename($_) } glob('/proc/[0-9]*'))
  {
    my ($state, $parent) = stat_fields($pid);
    $parent{$pid} = $parent if defined $state && $state ne 'Z';
  }
  my @found;
  for my $pid (keys %parent)
  {
    my $above = $pid;
    $above = $parent{$above} while $above && $above != $root;
    push @found, $pid if $above && $pid != $root;
  }
  return @found;
}

# The server's processes that run imagecalc-runner, serving or training.
sub runners
{
  my ($node, $mode) = @_;
  my @found;
  for my $pid (descendants($node->{_pid}))
  {
    open(my $file, '<', "/proc/$pid/cmdline") or next;
    my @words = split /\0/, <$file> // '';
    push @found, $pid if @words > 1 && basename($words[0]) eq 'imagecalc-runner' && $words[1] eq "--$mode";
  }
  return @found;
}

sub maps_torch
{
  my ($pid) = @_;
  open(my $file, '<', "/proc/$pid/maps") or return;
  return scalar grep { /libtorch|libc10/ } <$file>;
}

1;
