# For prebuildify only: the build is CMake's (CMakeLists.txt), through cmake-js. Not published: `npm ci` and Yarn would build
# from it, with or without an addon in prebuilds/.
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
