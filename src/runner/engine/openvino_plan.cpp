#include "runner/engine/openvino_plan.h"

#include <malloc.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <utility>

#include "runner/engine/huge_pages.h"
#include "runner/engine/openvino_decoder.h"
#include "runner/engine/openvino_onnx.h"
#include "runner/engine/specialise.h"

namespace imagecalc {

namespace {

// What goes at once: a model is compiled for each of these numbers of images when it is first used. One that takes any number
// would do with one compilation, but pays for every change with as much time as dozens of images take.
constexpr std::array<std::size_t, 5> kPieces{128, 32, 16, 8, 1};
constexpr int kMaxStreams = 8;  // each keeps buffers of its own

// It reads its libraries when it is first asked for, and keeps them.
ov::Core& core() {
  static ov::Core core;
  return core;
}

// Whether a line only says where in OpenVINO's sources, or for which node.
bool is_place(std::string_view line) {
  return line.starts_with("Check '") || line.starts_with("Exception from ") || line.starts_with("While validating ") ||
         line.starts_with("\n");
}

// The line of an OpenVINO error that says what was wrong: mostly that it does not know an operation.
std::string openvino_message(std::string_view what) {
  auto reason = what.find("No conversion rule found for operations: ");
  if (reason != what.npos) what.remove_prefix(reason);
  for (auto line = what.find('\n'); line != what.npos && is_place(what) && line + 1 < what.size(); line = what.find('\n')) {
    what.remove_prefix(line + 1);
  }
  return torch_message(what);
}

// So many streams run at once, each with its share of the threads; they share the weights. One alone runs in the caller's
// thread.
ov::AnyMap settings(int threads, ov::element::Type precision) {
  const int streams = std::min(threads, kMaxStreams);
  return {ov::hint::inference_precision(precision), ov::num_streams(streams > 1 ? streams : 0),
          ov::inference_num_threads(threads), ov::hint::enable_cpu_pinning(false)};
}

// How many of the images left go at once, the last places of it empty where it is more. share: a thread's part of them all.
// Three quarters of a large piece cost as much as it does in smaller ones; three single images as much as eight at once.
std::size_t next_piece(std::size_t left, std::size_t share) {
  for (std::size_t piece : kPieces) {
    const bool filled = piece == 8 ? left >= 3 : 4 * left >= 3 * piece;
    if (filled && piece <= std::max(share, std::size_t{8})) return piece;
  }
  return 1;
}

// What malloc has given out.
std::size_t allocated_bytes() {
  const auto heap = ::mallinfo2();
  return heap.uordblks + heap.hblkhd;
}

// A compiled model packs the weights for itself and has room for what lies between the layers, which may be a multiple of
// them. OpenVINO does not say how much: it is about what the process took meanwhile.
struct Weighed {
  ov::CompiledModel model;
  std::size_t bytes = 0;
};

// One at a time, so that none counts for another.
Weighed compile(const std::shared_ptr<ov::Model>& model, const ov::AnyMap& how) {
  static std::mutex mutex;
  std::lock_guard lock(mutex);
  const std::size_t before = allocated_bytes();
  Weighed weighed{core().compile_model(model, "CPU", how)};
  const std::size_t now = allocated_bytes();
  weighed.bytes = now - std::min(now, before);
  return weighed;
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
};

class OpenVinoPlan : public Plan {
 public:
  using Compile = std::function<Weighed(std::size_t piece)>;
  // first: the piece that is compiled at once.
  // weight_bytes: of the model.
  OpenVinoPlan(Compile compile, TensorSize size, std::size_t first, std::size_t weight_bytes)
      : compile_(std::move(compile)),
        size_(size),
        weight_bytes_(weight_bytes),
        image_floats_(std::size_t{3} * size.height * size.width),
        outputs_(outputs_of(compiled(first).model)) {}

  Scores run(const TensorBatch& batch, int threads) override {
    const std::size_t images = batch.images;
    const auto lanes_wanted = std::min(images, static_cast<std::size_t>(threads));
    const std::size_t share = (images + lanes_wanted - 1) / lanes_wanted;
    Scores scores{static_cast<std::uint32_t>(outputs_), std::vector<float>(images * outputs_), EngineChoice::openvino};
    Lanes lanes(lanes_wanted);
    for (std::size_t first = 0, turn = 0; first < images; ++turn) {
      Lanes::Place& place = lanes.all[turn % lanes_wanted];
      finish(place, scores);
      const std::size_t piece = next_piece(images - first, share);
      const std::size_t count = std::min(piece, images - first);
      place.owner = &compiled(piece);
      place.lane = place.owner->take_lane();
      start(*place.lane, batch.tensors + first * image_floats_, first, count, piece);
      first += count;
    }
    for (Lanes::Place& place : lanes.all) finish(place, scores);
    return scores;
  }

  std::size_t memory() const override { return memory_; }

 private:
  // The model for one number of images, and the lanes that are free.
  struct Compiled {
    explicit Compiled(ov::CompiledModel compiled_model) : model(std::move(compiled_model)) {}

    std::unique_ptr<Lane> take_lane() {
      std::lock_guard lock(mutex);
      if (free.empty()) return std::make_unique<Lane>(Lane{model.create_infer_request(), {}});
      auto lane = std::move(free.back());
      free.pop_back();
      return lane;
    }
    void give_back(std::unique_ptr<Lane> lane) {
      std::lock_guard lock(mutex);
      free.push_back(std::move(lane));
    }

    ov::CompiledModel model;
    std::mutex mutex;
    std::vector<std::unique_ptr<Lane>> free;
  };

  // Lanes on loan. Whatever happens, none runs on when they go: they read the caller's memory.
  struct Lanes {
    struct Place {
      Compiled* owner = nullptr;
      std::unique_ptr<Lane> lane;
    };
    explicit Lanes(std::size_t count) : all(count) {}
    ~Lanes() {
      for (Place& place : all) {
        if (!place.lane) continue;
        try {  // an exception is on its way: this lane's own error is none of its business
          place.lane->request.wait();
        } catch (const std::exception&) {
        }
      }
    }
    Lanes(const Lanes&) = delete;
    Lanes& operator=(const Lanes&) = delete;

    std::vector<Place> all;
  };

  Compiled& compiled(std::size_t piece) {
    bool is_new = false;
    Compiled* found = nullptr;
    {
      std::lock_guard lock(mutex_);
      auto& known = compiled_[piece];
      is_new = !known;
      if (is_new) {
        Weighed weighed = compile_(piece);
        memory_ += std::max(weight_bytes_, weighed.bytes);
        known = std::make_unique<Compiled>(std::move(weighed.model));
      }
      found = known.get();
    }
    if (is_new) move_heaps_to_huge_pages();
    return *found;
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
  }

  void finish(Lanes::Place& place, Scores& scores) {
    if (!place.lane) return;
    Lane& lane = *place.lane;
    lane.request.wait();
    ov::Tensor rows = lane.request.get_output_tensor();
    if (rows.get_size() < lane.count * outputs_) throw std::runtime_error("OpenVINO's model gives too few scores");
    std::memcpy(scores.values.data() + lane.first * outputs_, rows.data<float>(), lane.count * outputs_ * sizeof(float));
    place.owner->give_back(std::move(place.lane));
  }

  const Compile compile_;
  const TensorSize size_;
  const std::size_t weight_bytes_;
  const std::size_t image_floats_;
  std::atomic<std::size_t> memory_ = 0;  // of what has been compiled
  std::mutex mutex_;                     // of what follows
  std::map<std::size_t, std::unique_ptr<Compiled>> compiled_;  // by piece
  const std::size_t outputs_;
};

// A model for so many images of one size.
using ModelFor = std::function<std::shared_ptr<ov::Model>(std::size_t images, TensorSize size)>;

// Runs code that calls OpenVINO. context: what an error begins with.
template <typename Function>
auto guard_openvino(const char* context, Function&& function) {
  try {
    return function();
  } catch (const Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    throw Error(Fault::bad_model, context + openvino_message(error.what()),
                "What OpenVINO cannot run, LibTorch may: give the model as TorchScript.");
  }
}

Recipe recipe_of(const char* name, ModelFor model_for, std::size_t weight_bytes, int threads,
                 ov::element::Type precision = ov::element::f32) {
  auto make = [=](TensorSize size, std::size_t batch) -> std::shared_ptr<Plan> {
    auto compile_piece = [=](std::size_t piece) {
      return guard_openvino("", [&] { return compile(model_for(piece, size), settings(threads, precision)); });
    };
    return std::make_shared<OpenVinoPlan>(compile_piece, size, next_piece(batch, batch), weight_bytes);
  };
  auto made = std::make_shared<SharedPlans<TensorSize>>();
  const bool is_bf16 = precision == ov::element::bf16;
  return {EngineChoice::openvino, name,
          [=](TensorSize size, std::size_t batch) { return made->get(size, [&] { return make(size, batch); }); },
          is_bf16, is_bf16 ? kBf16Tolerance : kScoreTolerance};
}

using Edit = void (*)(torch::jit::Module& frozen, TensorSize size);

// edit: what is done to the module first, if anything.
ModelFor models_of(std::shared_ptr<FreezableModule> module, Edit edit = nullptr) {
  return [=](std::size_t images, TensorSize size) {
    torch::jit::Module made = edit ? module->frozen_copy() : module->frozen();
    if (edit) edit(made, size);
    return to_openvino(made, {static_cast<std::int64_t>(images), 3, size.height, size.width});
  };
}

}  // namespace

const bool kHasOpenVino = true;

std::vector<Recipe> openvino_recipes(std::shared_ptr<FreezableModule> module, int threads) {
  return {recipe_of("openvino", models_of(module), module->weight_bytes(), threads),
          recipe_of("openvino, specialised", models_of(module, specialise), module->weight_bytes(), threads)};
}

bool has_bf16() {
  const auto capabilities = core().get_property("CPU", ov::device::capabilities);
  return std::find(capabilities.begin(), capabilities.end(), ov::device::capability::BF16) != capabilities.end();
}

Recipe bf16_recipe(std::shared_ptr<FreezableModule> module, int threads) {
  return recipe_of("openvino, bf16", models_of(module), module->weight_bytes(), threads, ov::element::bf16);
}

Recipe onnx_recipe(std::span<const std::uint8_t> bytes, int threads) {
  check_model_size(bytes);
  std::shared_ptr<const ov::Model> model = guard_openvino("the ONNX model could not be loaded: ", [&] { return read_onnx(bytes); });
  auto model_for = [=](std::size_t images, TensorSize size) { return reshaped(*model, images, size); };
  return recipe_of("openvino", model_for, bytes.size(), threads);
}

}  // namespace imagecalc
