package delegation

import (
	"strings"

	"github.com/distribution/reference"
)

// imageMatches compares an image with a pattern, whose `*` at the end matches the rest of a tag or digest. Where an image
// has a digest, the digest is what runs and a tag beside it means nothing: such an image matches by its digest alone, and no
// pattern of a tag. Names are compared as they are written: which registry a short name means is the node's to say.
func imageMatches(pattern, image string) bool {
	ref, err := reference.Parse(image)
	if err != nil {
		return false
	}
	name, digest, byDigest := strings.Cut(pattern, "@")
	digested, hasDigest := ref.(reference.Digested)
	switch {
	case !byDigest && !hasDigest:
		return matches(pattern, image)
	case !byDigest || !hasDigest:
		return false
	}
	named, ok := ref.(reference.Named)
	return ok && named.Name() == withoutTag(name) && matches(digest, digested.Digest().String())
}

// matches compares a text with a pattern. A slash behind the start of a tag would belong to another repository:
// registry:5* must not match registry:5000/other.
func matches(pattern, text string) bool {
	prefix, open := strings.CutSuffix(pattern, "*")
	if !open {
		return pattern == text
	}
	rest, ok := strings.CutPrefix(text, prefix)
	return ok && rest != "" && !strings.Contains(rest, "/")
}

// withoutTag is the name in a reference that has no digest; the reference itself where it is none.
func withoutTag(s string) string {
	ref, err := reference.Parse(s)
	if named, ok := ref.(reference.Named); err == nil && ok {
		return named.Name()
	}
	return s
}
