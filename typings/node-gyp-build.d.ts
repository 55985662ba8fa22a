declare module 'node-gyp-build' {
  const nodeGypBuild: {
    (packageRoot: string): unknown;
    /** Where the addon lies: build/Release, then prebuilds/. Throws when there is none. */
    path(packageRoot: string): string;
  };
  export = nodeGypBuild;
}
