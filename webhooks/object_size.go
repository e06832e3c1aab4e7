package webhooks

import (
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// maxObjectBytes bounds a whole path or hop, as it is stored, when it is created and when what it may do is changed. It
// leaves room to revoke: etcd takes 1.5 MiB, and what may be added to the metadata afterwards is bounded by
// config/policy/metadata.yaml. A schema cannot say it, since each of its lists has a bound of its own.
const maxObjectBytes = 256 << 10

// tooLarge says why the object of a request is too large; empty if it is not. An update that makes an object smaller
// passes: it may be older than the bound.
func tooLarge(req admission.Request) string {
	size := len(req.Object.Raw)
	if size <= maxObjectBytes || isUpdate(req) && size <= len(req.OldObject.Raw) {
		return ""
	}
	return fmt.Sprintf("the object has %d bytes, more than %d: no room would be left to revoke it; make its scope shorter",
		size, maxObjectBytes)
}
