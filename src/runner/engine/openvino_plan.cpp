#include "runner/engine/openvino_plan.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <utility>

#include "runner/engine/openvino_decoder.h"

namespace imagecalc {

namespace {

constexpr std::int64_t kAnyBatch = -1;
constexpr std::size_t kLargestPiece = 128;
constexpr int kMaxStreams = 8;  // each keeps buffers of its own

// It reads its libraries when it is first asked for, and keeps them.
ov::Core& core() {
  static ov::Core core;
  return core;
}

// The line of an OpenVINO error that says what was wrong: mostly that it does not know an operation.
std::string openvino_message(std::string_view what) {
  auto reason = what.find("No conversion rule found for operations: ");
  if (reason != what.npos) what.remove_prefix(reason);
  return torch_message(what);
}

// So many streams run at once, each with its share of the threads; they share the weights. One alone runs in the caller's
// thread.
ov::AnyMap settings(int threads) {
  const int streams = std::min(threads, kMaxStreams);
  return {ov::hint::inference_precision(ov::element::f32), ov::num_streams(streams > 1 ? streams : 0),
          ov::inference_num_threads(threads), ov::hint::enable_cpu_pinning(false)};
}

// How many of the images left go at once. A new batch size costs a tenth of a compilation and some megabytes, so there are
// few: powers of two. More than three quarters of one is cheaper as a whole, with nothing in its last places; less is
// cheaper in two pieces.
std::size_t next_piece(std::size_t left, std::size_t largest) {
  std::size_t piece = 2;
  while (2 * piece <= largest && 4 * left > 6 * piece) piece *= 2;
  return piece;
}

std::size_t outputs_of(const ov::CompiledModel& compiled) {
  if (compiled.outputs().size() != 1) throw std::runtime_error("OpenVINO's model has several outputs");
  ov::PartialShape shape = compiled.output().get_partial_shape();
  if (compiled.output().get_element_type() != ov::element::f32 || shape.rank() != 2 || shape[1].is_dynamic()) {
    throw std::runtime_error("OpenVINO's model does not give one row of scores an image");
  }
  return static_cast<std::size_t>(shape[1].get_length());
}

// A request that OpenVINO may have in hand, and where its scores go.
struct Lane {
  ov::InferRequest request;
  std::vector<float> padded;  // images, then zeros
  std::size_t first = 0, count = 0;
  bool running = false;
};

class OpenVinoPlan : public Plan {
 public:
  OpenVinoPlan(ov::CompiledModel compiled, TensorSize size, bool takes_batches)
      : compiled_(std::move(compiled)),
        size_(size),
        takes_batches_(takes_batches),
        image_floats_(std::size_t{3} * size.height * size.width),
        outputs_(outputs_of(compiled_)) {}

  Scores run(const float* batch, std::size_t images, int threads) override {
    const auto lanes_wanted = std::min(images, static_cast<std::size_t>(threads));
    const std::size_t share = (images + lanes_wanted - 1) / lanes_wanted;
    Scores scores{static_cast<std::uint32_t>(outputs_), std::vector<float>(images * outputs_)};
    Lanes lanes(*this, lanes_wanted);
    for (std::size_t first = 0, turn = 0; first < images; ++turn) {
      Lane& lane = *lanes.all[turn % lanes_wanted];
      finish(lane, scores);
      const std::size_t piece = takes_batches_ ? next_piece(images - first, std::min(share, kLargestPiece)) : 1;
      const std::size_t count = std::min(piece, images - first);
      start(lane, batch + first * image_floats_, first, count, piece);
      first += count;
    }
    for (auto& lane : lanes.all) finish(*lane, scores);
    return scores;
  }

 private:
  // Lanes on loan. Whatever happens, none runs on when they go back: they read the caller's memory.
  struct Lanes {
    Lanes(OpenVinoPlan& plan, std::size_t count) : owner(plan) {
      while (all.size() < count) all.push_back(owner.take_lane());
    }
    ~Lanes() {
      for (auto& lane : all) owner.give_back(std::move(lane));
    }
    Lanes(const Lanes&) = delete;
    Lanes& operator=(const Lanes&) = delete;

    OpenVinoPlan& owner;
    std::vector<std::unique_ptr<Lane>> all;
  };

  std::unique_ptr<Lane> take_lane() {
    std::lock_guard lock(mutex_);
    if (free_.empty()) return std::make_unique<Lane>(Lane{compiled_.create_infer_request(), {}});
    auto lane = std::move(free_.back());
    free_.pop_back();
    return lane;
  }

  void give_back(std::unique_ptr<Lane> lane) noexcept {
    if (lane->running) {  // an exception is on its way: this lane's own error is none of its business
      try {
        lane->request.wait();
      } catch (const std::exception&) {
      }
      return;
    }
    std::lock_guard lock(mutex_);
    free_.push_back(std::move(lane));
  }

  void start(Lane& lane, const float* images, std::size_t first, std::size_t count, std::size_t piece) {
    if (count < piece) {
      lane.padded.assign(piece * image_floats_, 0);
      std::memcpy(lane.padded.data(), images, count * image_floats_ * sizeof *images);
      images = lane.padded.data();
    }
    ov::Shape shape{piece, 3, static_cast<std::size_t>(size_.height), static_cast<std::size_t>(size_.width)};
    lane.request.set_input_tensor({ov::element::f32, shape, const_cast<float*>(images)});
    lane.first = first;
    lane.count = count;
    lane.request.start_async();
    lane.running = true;
  }

  void finish(Lane& lane, Scores& scores) {
    if (!lane.running) return;
    lane.request.wait();
    lane.running = false;
    ov::Tensor rows = lane.request.get_output_tensor();
    if (rows.get_size() < lane.count * outputs_) throw std::runtime_error("OpenVINO's model gives too few scores");
    std::memcpy(scores.values.data() + lane.first * outputs_, rows.data<float>(), lane.count * outputs_ * sizeof(float));
  }

  ov::CompiledModel compiled_;
  const TensorSize size_;
  const bool takes_batches_;
  const std::size_t image_floats_, outputs_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Lane>> free_;
};

std::shared_ptr<Plan> make_plan(const torch::jit::Module& frozen, TensorSize size, bool takes_batches, int threads) {
  try {
    auto model = to_openvino(frozen, {takes_batches ? kAnyBatch : 1, 3, size.height, size.width});
    return std::make_shared<OpenVinoPlan>(core().compile_model(model, "CPU", settings(threads)), size, takes_batches);
  } catch (const std::exception& error) {
    throw Error(Fault::bad_model, openvino_message(error.what()));
  }
}

}  // namespace

const bool kHasOpenVino = true;

Recipe openvino_recipe(std::shared_ptr<FreezableModule> module, int threads) {
  auto made = std::make_shared<SharedPlans<std::pair<TensorSize, bool>>>();
  return {EngineChoice::openvino, "openvino", [=](TensorSize size, std::size_t batch) {
            const bool takes_batches = batch > 1;
            return made->get({size, takes_batches},
                             [&] { return make_plan(module->frozen(), size, takes_batches, threads); });
          }};
}

}  // namespace imagecalc
