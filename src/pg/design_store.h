// The tables of designs, as C++ values. Every function runs in the transaction that is open, as the tables' owner.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "design/latency.h"
#include "design/search.h"
#include "pg/sql.h"
#include "protocol/messages.h"

namespace imagecalc {

// Takes the lock that a worker holds on its design as long as it lives; imagecalc.worker_of looks for it. False where another
// has it. It is an advisory lock, since only these outlive transactions and end with the process, but of a kind (3) that the SQL
// functions, which use 1 and 2, cannot take.
bool lock_design(std::int64_t id);

// One row of imagecalc.design: what was asked for.
struct Design {
  std::int64_t id = 0;
  Oid owner = InvalidOid;
  std::string relation;  // qualified and quoted
  std::string image_column, label_column;
  std::optional<std::string> split_column;
  std::string model_name;
  Budgets budgets;
  SearchSettings search;
  int latency_batch = 1, size = 256;
  int epochs = 0, transfer_epochs = 0;
  double validation = 0.2;
  int max_images = 0;
  int batch_size = 32;
  bool one_cycle = true;
  double learning_rate = 0;
  std::uint64_t seed = 0;
  int compression_level = 0;
  bool balanced = false;  // class weights
  Augmentation augmentation = Augmentation::crop;
  bool try_stems = false;  // formats are explored with a stem, too
  std::vector<std::string> labels;
  std::string state;
  std::optional<int> chosen;  // the trial whose weights are the model's, of one that is done
};

std::optional<Design> load_design(std::int64_t id);
std::int64_t insert_design(const Design& design, const Blob& model);
Oid design_owner(std::int64_t id);  // Error(invalid_argument) where there is none

// What the storage and latency models found for one format, with a stem or without.
struct CandidateRow {
  Format format;
  bool stem = false;
  double bytes = 0, bytes_deviation = 0;
  Latency latency;               // at the working batch
  double single_latency_us = 0;  // of one image at a time
  bool latency_measured = false;
  std::optional<std::string> refusal;
  // What the trials so far tell; nothing of a format that may not be chosen.
  std::optional<Prediction> prediction;
  bool on_frontier = false;  // no other beats it in accuracy, latency and bytes at once
};
std::vector<CandidateRow> load_candidates(std::int64_t design);
void insert_candidates(std::int64_t design, const std::vector<CandidateRow>& rows);
// Writes what the trials tell of those that have a prediction, and their ranking.
void store_predictions(std::int64_t design, const std::vector<CandidateRow>& rows);
// Records that the model refuses these, of which nothing is predicted then.
void refuse_candidates(std::int64_t design, const std::vector<Format>& formats, bool stem, const std::string& refusal);
std::vector<Candidate> search_candidates(const std::vector<CandidateRow>& rows);

struct TrialRow {
  Trial trial;
  std::optional<Format> format;  // absent: RGB
  bool stem = false;
  std::optional<int> parent;
  int epochs = 0;
  double top5_accuracy = 0, loss = 0, seconds = 0;
  std::optional<double> bf16_accuracy;  // where it was measured
  Normalisation normalisation;
};
std::vector<TrialRow> load_trials(std::int64_t design, const std::vector<CandidateRow>& candidates);
void insert_trial(std::int64_t design, const TrialRow& row, std::span<const std::uint8_t> weights);
std::vector<Trial> search_trials(const std::vector<TrialRow>& rows);
// The training on RGB; null where there was none.
const TrialRow* find_reference(const std::vector<TrialRow>& rows);

Blob load_weights(std::int64_t design, int trial);  // trial 0: the model as it was given
void delete_weights_except(std::int64_t design, const std::vector<int>& trials);

const char* kind_name(TrialKind kind);

}  // namespace imagecalc
