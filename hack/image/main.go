// Command image builds the container image of Wayleave with ko's library, for all its platforms, without a registry:
// ko's own command pulls a base image, and there is nothing to pull for a static binary. `make image` runs it.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/ko/pkg/build"
)

const program = "github.com/wayleave/wayleave/cmd/wayleave"

var platforms = []v1.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}}

// options say what to build, and where to put it.
type options struct {
	root       string // of the module
	out        string // folder in which image/ is made, and an SBOM for each platform
	version    string
	created    time.Time
	buildFlags []string // of go build
}

func main() {
	var o options
	flag.StringVar(&o.root, "root", "../..", "folder of the module of Wayleave")
	flag.StringVar(&o.out, "out", "", "folder in which to make the OCI layout image/ and the SBOMs")
	flag.StringVar(&o.version, "version", "", "version that the image and the SBOMs name")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: image -out=folder -version=version -- flags of go build")
		flag.PrintDefaults()
	}
	flag.Parse()
	o.buildFlags = flag.Args()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log.SetOutput(io.Discard) // ko complains about each clone without tags
	if err := o.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "building the image:", err)
		os.Exit(1) //nolint:gocritic // the signals end with the process
	}
}

func (o *options) run(ctx context.Context) error {
	if o.out == "" || o.version == "" {
		return errors.New("-out and -version must be set")
	}
	seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return fmt.Errorf("reading SOURCE_DATE_EPOCH: %w", err)
	}
	o.created = time.Unix(seconds, 0).UTC()
	index, err := o.build(ctx)
	if err != nil {
		return err
	}
	if err := o.nameVersion(); err != nil {
		return err
	}
	folder := filepath.Join(o.out, "image")
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	if _, err := layout.Write(folder, mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: index})); err != nil {
		return fmt.Errorf("writing %s: %w", folder, err)
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	fmt.Println(digest)
	return nil
}

func (o *options) build(ctx context.Context) (v1.ImageIndex, error) {
	builder, err := build.NewGo(ctx, o.root,
		build.WithBaseImages(func(context.Context, string) (name.Reference, build.Result, error) {
			base, err := scratch()
			return scratchName{}, base, err
		}),
		build.WithPlatforms("all"),
		build.WithConfig(map[string]build.Config{program: {
			Flags: o.buildFlags,
			// What developers set for their own builds must not change the image. An empty GOFLAGS would still leave what
			// `go env -w` has set.
			Env: []string{
				"CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOWORK=off", "GOEXPERIMENT=", "GOFIPS140=off", "GOAMD64=v1", "GOARM64=v8.0",
			},
		}}),
		build.WithCreationTime(v1.Time{Time: o.created}),
		build.WithKoDataCreationTime(v1.Time{Time: o.created}),
		build.WithUser("65532:65532"),
		build.WithSPDX(koVersion()),
		build.WithSBOMDir(o.out),
		build.WithAnnotation("org.opencontainers.image.title", "wayleave"),
		build.WithAnnotation("org.opencontainers.image.version", o.version),
		build.WithAnnotation("org.opencontainers.image.licenses", "Apache-2.0"),
	)
	if err != nil {
		return nil, err
	}
	result, err := builder.Build(ctx, build.StrictScheme+program)
	if err != nil {
		return nil, err
	}
	index, ok := result.(v1.ImageIndex)
	if !ok {
		return nil, fmt.Errorf("ko made a %T and not an index", result)
	}
	return index, nil
}

// scratch is a base image without files for each platform.
func scratch() (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, platform := range platforms {
		image, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
			OS: platform.OS, Architecture: platform.Architecture, RootFS: v1.RootFS{Type: "layers"},
		})
		if err != nil {
			return nil, err
		}
		image = mutate.ConfigMediaType(mutate.MediaType(image, types.OCIManifestSchema1), types.OCIConfigJSON)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &platform}})
	}
	return index, nil
}

// scratchName is how annotations and SBOMs name the base image: as a Dockerfile does, and not by a registry.
type scratchName struct{ name.Tag }

func (scratchName) Name() string { return "scratch" }

// koVersion is the version of ko that this program was built with.
func koVersion() string {
	info, _ := debug.ReadBuildInfo()
	for _, dep := range info.Deps {
		if dep.Path == "github.com/google/ko" {
			return dep.Version
		}
	}
	return "unknown"
}

// nameVersion makes the SBOMs name the version of Wayleave, for which Go knows only "(devel)".
func (o *options) nameVersion() error {
	for _, platform := range platforms {
		file := filepath.Join(o.out, fmt.Sprintf("wayleave-%s-%s.spdx.json", platform.OS, platform.Architecture))
		content, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("reading the SBOM: %w", err)
		}
		if err := os.WriteFile(file, bytes.ReplaceAll(content, []byte("(devel)"), []byte(o.version)), 0o644); err != nil {
			return fmt.Errorf("writing the SBOM: %w", err)
		}
	}
	return nil
}
