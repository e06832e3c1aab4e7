package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// layout is an image in the folder of an OCI image layout.
type layout struct{ folder string }

type platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
}

type descriptor struct {
	Digest   string   `json:"digest"`
	Platform platform `json:"platform"`
}

type index struct {
	Manifests   []descriptor      `json:"manifests"`
	Annotations map[string]string `json:"annotations"`
}

type manifest struct {
	Config      descriptor        `json:"config"`
	Layers      []descriptor      `json:"layers"`
	Annotations map[string]string `json:"annotations"`
}

type config struct {
	platform

	Created string `json:"created"`
	Config  struct {
		User       string
		Entrypoint []string
		Cmd        []string
	} `json:"config"`
}

// digest is that of the one image that the layout holds.
func (l layout) digest(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(l.folder, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	held := decode[index](t, content)
	if len(held.Manifests) != 1 {
		t.Fatalf("%s holds %d images, not one", l.folder, len(held.Manifests))
	}
	return held.Manifests[0].Digest
}

func (l layout) blob(t *testing.T, digest string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(l.folder, "blobs", strings.Replace(digest, ":", "/", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(content); "sha256:"+hex.EncodeToString(sum[:]) != digest {
		t.Fatalf("%s has other content", digest)
	}
	return content
}

// files are the regular files of an image.
func (l layout) files(t *testing.T, m manifest) map[string][]byte {
	t.Helper()
	found := map[string][]byte{}
	for _, layer := range m.Layers {
		unzipped, err := gzip.NewReader(bytes.NewReader(l.blob(t, layer.Digest)))
		if err != nil {
			t.Fatal(err)
		}
		archive := tar.NewReader(unzipped)
		for {
			header, err := archive.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if header.Typeflag == tar.TypeDir {
				continue
			}
			content, err := io.ReadAll(archive)
			if err != nil {
				t.Fatal(err)
			}
			found[header.Name] = content
		}
	}
	return found
}

func decode[T any](t *testing.T, content []byte) T {
	t.Helper()
	var value T
	if err := json.Unmarshal(content, &value); err != nil {
		t.Fatal(err)
	}
	return value
}
