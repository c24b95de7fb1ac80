#include "pg/design_latency.h"

#include <algorithm>
#include <chrono>

#include "codec/encode.h"
#include "codec/value.h"
#include "pg/scoring.h"
#include "pg/settings.h"

namespace imagecalc {
namespace {

constexpr std::size_t kGridSizes = 12;
constexpr int kRepeats = 9;             // at least
constexpr int kWarmUpCalls = 12;        // in its first calls of a new size the runner looks for the best way to run it
constexpr double kWarmUpUs = 50'000;
constexpr double kMeasuringUs = 100'000;
constexpr double kProbeBytes = 16 << 20;  // of one probe's rows, at most
constexpr double kProbeRows = 200;

using Clock = std::chrono::steady_clock;

double microseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

double mean_size(const std::vector<Blob>& files) {
  double sum = 0;
  for (const Blob& file : files) sum += static_cast<double>(file.size());
  return sum / static_cast<double>(files.size());
}

// Decode, transfer and model, an image, at the working batch.
Latency time_requests(const InferRequest& request, const Blob& model) {
  const auto count = static_cast<double>(request.items.size());
  const auto ask = [&] {
    InferReply reply = PendingScores(request, [&] { return model; }).wait();
    if (!reply.failures.empty()) throw_failure(reply.failures[0]);
    return reply;
  };
  const auto begin = Clock::now();
  for (int calls = 0; calls < kWarmUpCalls || microseconds_since(begin) < kWarmUpUs; ++calls) ask();

  std::vector<double> decode, transfer, run;
  const auto measuring = Clock::now();
  while (static_cast<int>(run.size()) < kRepeats || microseconds_since(measuring) < kMeasuringUs) {
    const auto start = Clock::now();
    const InferReply reply = ask();
    const double whole = microseconds_since(start);
    decode.push_back(reply.decode_us / count);
    run.push_back(reply.model_us / count);
    transfer.push_back(std::max(0.0, whole - reply.decode_us - reply.model_us) / count);
  }
  return {.fetch = 0, .decode = median(decode), .transfer = median(transfer), .model = median(run)};
}

// What every measurement needs to know.
struct Subject {
  const Design& design;
  const Blob& model;
  const ModelHash hash;
  const std::vector<Blob>& files;
};

// A batch of so many of the given items, over and over, where the settings have models run.
Latency time_batch(const Subject& subject, const ModelInput& input, InferItem::Kind kind, const std::vector<Blob>& items, int batch) {
  Model model;
  model.hash = subject.hash;
  model.input = input;
  InferRequest request = request_for(model);
  for (int i = 0; i < batch; ++i)
    request.items.push_back({kind, items[static_cast<std::size_t>(i) % items.size()]});
  return time_requests(request, subject.model);
}

Blob encode_at_level(const Blob& file, const Format& format, int compression_level) {
  const BackendInterrupt interrupt;
  return write_value(encode_file(file, format, current_limits(), interrupt), compression_level, interrupt);
}

// Adds a sample of the format, at both batches.
void time_format(const Subject& subject, const Format& format, double mean_bytes, LatencyTable& table) {
  std::vector<Blob> values;
  for (const Blob& file : subject.files) values.push_back(encode_at_level(file, format, subject.design.compression_level));
  const auto at = [&](int batch) {
    return time_batch(subject, {.rgb = false, .rgb_size = 0, .format = format}, InferItem::Kind::value, values, batch);
  };
  const Latency working = at(subject.design.latency_batch), single = subject.design.latency_batch == 1 ? working : at(1);
  table.samples.push_back({format, mean_bytes, working});
  table.singles.push_back({format, mean_bytes, single});
}

std::optional<Latency> time_rgb(const Subject& subject) {
  try {
    return time_batch(subject, {.rgb = true, .rgb_size = subject.design.size, .format = {}}, InferItem::Kind::picture, subject.files,
                      subject.design.latency_batch);
  } catch (const Error& error) {
    if (error.fault() != Fault::bad_model) throw;
    return std::nullopt;
  }
}

// Microseconds to read one value of this size from a table, warm. The table is gone with the transaction, which is aborted.
double time_fetch(double size) {
  const auto rows = static_cast<std::int64_t>(std::clamp(kProbeBytes / size, 1.0, kProbeRows));
  Transaction transaction;
  SqlScope sql(SqlScope::As::superuser);
  sql.run("CREATE TEMPORARY TABLE fetch_probe (value bytea) WITH (toast_tuple_target = 8160)");
  sql.run("ALTER TABLE fetch_probe ALTER COLUMN value SET STORAGE EXTERNAL");
  sql.run("INSERT INTO fetch_probe SELECT decode(repeat('a5', $1::int), 'hex') FROM generate_series(1, $2::int)",
          {static_cast<std::int64_t>(size), rows});
  std::vector<double> runs;
  for (int round = -1; round < kRepeats; ++round) {
    const auto start = Clock::now();
    sql.run("SELECT sum(get_byte(value, 0)) FROM fetch_probe");
    if (round >= 0) runs.push_back(microseconds_since(start) / static_cast<double>(rows));
  }
  return median(runs);
}

void add_fetch_times(LatencyTable& table) {
  for (std::size_t i = 0; i < table.samples.size(); ++i) {
    const double us = time_fetch(std::max(1.0, table.samples[i].bytes));
    table.samples[i].measured.fetch = table.singles[i].measured.fetch = us;
  }
}

// Hashing takes resources of a transaction.
ModelHash hash_of(const Blob& model) {
  Transaction transaction;
  const ModelHash hash = hash_model(model);
  transaction.commit();
  return hash;
}

// A format to time, and the model with the stem that it needs, if any.
struct Step {
  std::size_t format;  // of the design space
  bool stem;
};

std::vector<Step> steps_of(const std::vector<Format>& formats, bool try_stems) {
  std::vector<Step> steps;
  for (std::size_t i : latency_grid(formats, false, kGridSizes)) steps.push_back({i, false});
  if (!try_stems) return steps;
  std::vector<std::size_t> places;
  std::vector<Format> with_stem;
  for (std::size_t i = 0; i < formats.size(); ++i) {
    if (!may_have_stem(formats[i])) continue;
    places.push_back(i);
    with_stem.push_back(formats[i]);
  }
  for (std::size_t i : latency_grid(with_stem, true, kGridSizes)) steps.push_back({places[i], true});
  return steps;
}

}  // namespace

LatencyFindings measure_latency(const Design& design, const Blob& model, const ModelHash& hash, const std::vector<Blob>& files,
                                const std::vector<float>& mean_bytes, const std::function<Blob(int)>& with_stem,
                                const std::function<void(int, int)>& on_step) {
  const std::vector<Format> formats = design_space(design.size);
  const std::vector<Step> steps = steps_of(formats, design.try_stems);
  const int count = static_cast<int>(steps.size()) + 1;
  LatencyFindings findings;
  findings.mean_file_bytes = mean_size(files);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    on_step(static_cast<int>(i), count);
    const Format& format = formats[steps[i].format];
    LatencyTable& table = steps[i].stem ? findings.stems : findings.plain;
    try {
      const Blob stemmed = steps[i].stem ? with_stem(format.kept) : Blob();
      const Subject subject{design, steps[i].stem ? stemmed : model, steps[i].stem ? hash_of(stemmed) : hash, files};
      time_format(subject, format, mean_bytes[steps[i].format], table);
    } catch (const Error& error) {
      if (error.fault() != Fault::bad_model) throw;
      table.refusals[map_size(format, steps[i].stem)] = error.what();
    }
  }
  if (findings.plain.samples.empty())
    throw Error(Fault::bad_model, "the model refuses every tensor size of the design space: " + findings.plain.refusals.begin()->second,
                "Choose another size, or a model that takes small inputs.");
  on_step(count - 1, count);
  findings.rgb = time_rgb({design, model, hash, files});
  add_fetch_times(findings.plain);
  add_fetch_times(findings.stems);
  if (findings.rgb) findings.rgb->fetch = time_fetch(findings.mean_file_bytes);
  return findings;
}

double time_encode(const std::vector<Blob>& files, const Format& format, int compression_level) {
  constexpr double kEnough = 2e6;  // microseconds: large pictures at a strong level take long
  const auto begin = Clock::now();
  std::vector<double> rounds;
  do {
    const auto start = Clock::now();
    for (const Blob& file : files) encode_at_level(file, format, compression_level);
    rounds.push_back(microseconds_since(start) / static_cast<double>(files.size()));
  } while (rounds.size() <= kRepeats && microseconds_since(begin) < kEnough);
  if (rounds.size() > 1) rounds.erase(rounds.begin());  // the warm-up
  return median(rounds);
}

}  // namespace imagecalc
