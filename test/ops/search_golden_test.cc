// The concept search against PyTorch: the runs of test/goldens/models/search (see the README.md above that folder).

#include <cmath>
#include <cstring>
#include <fstream>
#include <sstream>

#include "concepts/search.h"
#include "harness.h"
#include "io/safetensors.h"
#include "search_golden.h"

using namespace cones;
using namespace cones::test;

namespace {

const std::string kFolder = "test/goldens/models/search/";

constexpr index_t kSteps = 5, kRows = 4, kTokens = 12;

struct SearchGolden {
  SafetensorsFile file{kFolder + "golden.safetensors"};
  std::string errors = [] {
    std::stringstream text;
    text << std::ifstream(kFolder + "errors.json").rdbuf();
    return text.str();
  }();

  template <typename T>
  std::vector<T> read(const std::string& name) const {
    const SafetensorsEntry& entry = file.tensors().at(name);
    std::vector<T> values(entry.size / sizeof(T));
    file.bytes_of(entry)(0, std::as_writable_bytes(std::span(values)));
    return values;
  }
  std::vector<double> floats(const std::string& name) const {
    const std::vector<float> values = read<float>(name);
    return {values.begin(), values.end()};
  }

  // errors.json is our own: its keys are sorted and its form does not vary.
  double error(const std::string& tensor, const std::string& kind) const {
    const std::string key = '"' + kind + "\": ";
    return std::strtod(errors.c_str() + errors.find(key, errors.find('"' + tensor + '"')) + key.size(), nullptr);
  }

  /// 2 × PyTorch's own error and 2^-20 of the largest value, of which a handful of roundings is made.
  void expect(const std::string& name, const std::vector<double>& got, bool mean) const {
    const std::vector<double> want = floats(name);
    double worst = 0, sum = 0;
    for (std::size_t i = 0; i < want.size(); ++i) {
      const double difference = std::abs(got.at(i) - want[i]);
      worst = std::isnan(difference) ? INFINITY : std::max(worst, difference);
      sum += difference;
    }
    const double found = mean ? sum / static_cast<double>(want.size()) : worst;
    const double allowed = 2 * error(name, mean ? "meanAbsError" : "maxAbsError") + error(name, "maxAbsValue") * 0x1p-20;
    if (!(found <= allowed) || std::isinf(worst)) {
      std::ostringstream message;
      message << name << ": error " << found << ", tolerance " << allowed;
      report(__FILE__, __LINE__, message.str());
    }
  }
};

void compare(const SearchGolden& golden, const SearchGoldenRun& run, const char* isa, Checkpointing checkpointing) {
  const Context context = make_context(2, isa);
  Weights weights({kFolder + "unet/diffusion_pytorch_model.safetensors"});
  const UNetConfig config = search_unet_config();
  const UNet unet(context, weights, config);

  SearchOptions options = run.options;
  options.checkpointing = checkpointing;
  for (std::size_t i = 0; i < unet.kv_tensors().size(); ++i) options.tensors.push_back(static_cast<int>(i));
  ConceptSearch search(context, unet, options);

  const std::vector<float> noisy = golden.read<float>("noisy"), noise = golden.read<float>("noise");
  const std::vector<std::int32_t> timesteps = golden.read<std::int32_t>("timesteps");
  const Tensor embeddings =
      to_tensor(context, golden.floats("encoder_hidden_states"), {kRows, kTokens, config.cross_attention_dim});
  std::vector<double> losses;
  for (index_t k = 0; k < kSteps; ++k) {
    TrainingBatch batch;
    batch.latents = search_step_of(context, noisy, k);
    batch.target = search_step_of(context, noise, k);
    batch.timesteps.assign(timesteps.begin() + k * kRows, timesteps.begin() + (k + 1) * kRows);
    batch.weights = {0.5, 0.5, 0.5, 0.5};  // means over 2 subject rows and, with λ = 1, over 2 prior rows
    batch.embeddings = embeddings;
    losses.push_back(search.step(context, batch).loss);
  }

  const std::string name = run.name;
  golden.expect(name + ".losses", losses, false);
  for (std::size_t i = 0; i < search.size(); ++i) {
    const std::string& tensor = search.parameter(i).name;
    golden.expect(name + ".score." + tensor, to_vector(search.ranking(Ranking::score, i)), false);
    // See the README on Adam's displacements.
    golden.expect(name + ".displacement." + tensor, to_vector(search.ranking(Ranking::displacement, i)),
                  options.optimizer == Optimizer::adam);
  }
}

}  // namespace

TEST("search runs equal PyTorch's") {
  const SearchGolden golden;
  for (const char* isa : instruction_sets())
    for (const SearchGoldenRun& run : search_golden_runs()) compare(golden, run, isa, Checkpointing::none);
}

TEST("a checkpointed search equals PyTorch's") {
  for (const Checkpointing checkpointing : {Checkpointing::light, Checkpointing::layers})
    compare(SearchGolden(), search_golden_runs()[0], nullptr, checkpointing);
}
