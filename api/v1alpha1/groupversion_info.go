package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupName is the API group of all kinds of Wayleave.
const GroupName = "delegation.wayleave.dev"

// SchemeGroupVersion is the group and version of the kinds in this package. The generated apply configurations need
// it under this name.
var SchemeGroupVersion = schema.GroupVersion{Group: GroupName, Version: "v1alpha1"}

// AddToScheme adds the kinds of this package to a scheme.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(SchemeGroupVersion,
		&DelegationPath{}, &DelegationPathList{},
		&DelegationHop{}, &DelegationHopList{},
		&DelegationApproval{}, &DelegationApprovalList{},
	)
	metav1.AddToGroupVersion(s, SchemeGroupVersion)
	return nil
}
