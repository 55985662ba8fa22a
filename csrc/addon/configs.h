// The config objects of lib/models as the core's structs.
#pragma once

#include <napi.h>

#include "io/weights.h"
#include "model/config.h"
#include "model/unet.h"

namespace cones::addon {

UNetConfig unet_config(const Napi::Object& o);
TextConfig text_config(const Napi::Object& o);
VaeConfig vae_config(const Napi::Object& o);
/// The files of one of them.
WeightFiles weight_files(const Napi::Object& o);
/// The `activation` of a CLIP tower.
Activation activation_name(const Napi::Object& o);

}  // namespace cones::addon
