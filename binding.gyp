# For prebuildify only: the build is CMake's (CMakeLists.txt), through cmake-js.
{
  "targets": [{
    "target_name": "cones",
    "type": "none",
    "actions": [{
      "action_name": "cmake",
      "inputs": ["CMakeLists.txt"],
      "outputs": ["<(PRODUCT_DIR)/cones.node"],
      "action": ["node", "scripts/build-native.mjs"]
    }]
  }]
}
