package cluster

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// LoadImage loads an image into the node, for use with `imagePullPolicy: Never`.
// Its one file and entry point is a static program. The name has a registry and
// a tag. LoadImage returns the name by digest, which also works.
func (c *Cluster) LoadImage(ctx context.Context, name, program string) (string, error) {
	if c.record.Node == nil {
		return "", errors.New("loading an image: the cluster has no node that was started here")
	}
	pinned, err := c.loadImage(ctx, name, program)
	if err != nil {
		return "", fmt.Errorf("loading the image %s: %w", name, err)
	}
	return pinned, nil
}

func (c *Cluster) loadImage(ctx context.Context, name, program string) (string, error) {
	repository, err := repositoryOf(name)
	if err != nil {
		return "", err
	}
	blobs, err := programImage(program, runtime.GOARCH)
	if err != nil {
		return "", err
	}
	return c.importImage(ctx, name, repository, blobs[0].descriptor, layoutFiles(blobs))
}

// ImportImage imports the one image that the folder of an OCI image layout holds
// into the node, and is otherwise like LoadImage. Of an image for several
// platforms the node runs its own.
func (c *Cluster) ImportImage(ctx context.Context, folder, name string) (string, error) {
	if c.record.Node == nil {
		return "", errors.New("importing an image: the cluster has no node that was started here")
	}
	repository, err := repositoryOf(name)
	if err != nil {
		return "", err
	}
	image, files, err := readLayout(folder)
	if err != nil {
		return "", fmt.Errorf("reading the image layout %s: %w", folder, err)
	}
	pinned, err := c.importImage(ctx, name, repository, image, files)
	if err != nil {
		return "", fmt.Errorf("importing the image %s: %w", name, err)
	}
	return pinned, nil
}

// importImage imports an image under two names, and returns the one with the
// digest instead of the tag.
func (c *Cluster) importImage(
	ctx context.Context, name, repository string, image descriptor, files map[string][]byte,
) (string, error) {
	if err := os.MkdirAll(c.record.path("images"), 0o700); err != nil {
		return "", err
	}
	file, err := os.CreateTemp(c.record.path("images"), "*.tar")
	if err != nil {
		return "", err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	pinned := repository + "@" + image.Digest
	files["index.json"] = layoutIndex(image.named(name), image.named(pinned))
	if err := writeTar(file, files, 0o644); err != nil {
		return "", err
	}
	return pinned, c.ctr(ctx, "images", "import", file.Name())
}

// descriptor points to a blob of an image, as the OCI image layout has it.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type blob struct {
	descriptor
	content []byte
}

func newBlob(kind string, content []byte) blob {
	sum := sha256.Sum256(content)
	return blob{content: content, descriptor: descriptor{
		MediaType: "application/vnd.oci.image." + kind,
		Digest:    "sha256:" + hex.EncodeToString(sum[:]),
		Size:      len(content),
	}}
}

// programImage is an image whose one file is a static program: its manifest and
// what that names. The same program always has the same digest.
func programImage(program, architecture string) ([]blob, error) {
	layer, err := programLayer(program)
	if err != nil {
		return nil, err
	}
	config := newBlob("config.v1+json", encode(map[string]any{
		"architecture": architecture,
		"os":           "linux",
		"config":       map[string]any{"Entrypoint": []string{"/" + filepath.Base(program)}, "User": "65532:65532"},
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{layer.Digest}},
	}))
	manifest := newBlob("manifest.v1+json", encode(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": config.descriptor, "layers": []descriptor{layer.descriptor},
	}))
	return []blob{manifest, config, layer}, nil
}

// layoutFiles are the files of an OCI image layout, without its index.
func layoutFiles(blobs []blob) map[string][]byte {
	files := map[string][]byte{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)}
	for _, b := range blobs {
		files["blobs/sha256/"+strings.TrimPrefix(b.Digest, "sha256:")] = b.content
	}
	return files
}

func layoutIndex(images ...descriptor) []byte {
	return encode(map[string]any{"schemaVersion": 2, "manifests": images})
}

// readLayout returns the image and the files of an OCI image layout.
func readLayout(folder string) (descriptor, map[string][]byte, error) {
	files := map[string][]byte{}
	layout := os.DirFS(folder)
	err := fs.WalkDir(layout, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		files[path], err = fs.ReadFile(layout, path)
		return err
	})
	if err != nil {
		return descriptor{}, nil, err
	}
	var index struct{ Manifests []descriptor }
	if err := json.Unmarshal(files["index.json"], &index); err != nil {
		return descriptor{}, nil, fmt.Errorf("reading index.json: %w", err)
	}
	if len(index.Manifests) != 1 {
		return descriptor{}, nil, fmt.Errorf("it holds %d images, not one", len(index.Manifests))
	}
	return index.Manifests[0], files, nil
}

// named sets the name of an image in containerd.
func (d descriptor) named(name string) descriptor {
	d.Annotations = map[string]string{"io.containerd.image.name": name}
	return d
}

func programLayer(program string) (blob, error) {
	content, err := os.ReadFile(program)
	if err != nil {
		return blob{}, err
	}
	var layer bytes.Buffer
	if err := writeTar(&layer, map[string][]byte{filepath.Base(program): content}, 0o755); err != nil {
		return blob{}, err
	}
	return newBlob("layer.v1.tar", layer.Bytes()), nil
}

// repositoryOf requires a registry and a tag: a node would add its defaults to the
// name of a pod's image.
func repositoryOf(name string) (string, error) {
	registry, path, _ := strings.Cut(name, "/")
	path, tag, _ := strings.Cut(path, ":")
	if !strings.ContainsAny(registry, ".:") || path == "" || tag == "" || strings.Contains(tag, "@") {
		return "", fmt.Errorf("the image name %q does not have the form example.com/name:tag", name)
	}
	return registry + "/" + path, nil
}

func writeTar(out io.Writer, files map[string][]byte, mode int64) error {
	w := tar.NewWriter(out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		content := files[name]
		if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(content)), Mode: mode}); err != nil {
			return err
		}
		if _, err := w.Write(content); err != nil {
			return err
		}
	}
	return w.Close()
}

func encode(value any) []byte { return must(json.Marshal(value)) }
