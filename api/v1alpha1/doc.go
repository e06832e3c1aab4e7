// Package v1alpha1 holds the kinds of delegation.wayleave.dev: DelegationPath, the envelope of a delegated
// execution path, and DelegationHop, one node of it. Beside the kinds it defines the contracts that every part of
// Wayleave shares: the condition types, the vocabulary of reasons with their classes, and the label keys.
//
// +kubebuilder:object:generate=true
// +kubebuilder:ac:generate=true
// +kubebuilder:ac:output:package=../applyconfiguration
// +groupName=delegation.wayleave.dev
package v1alpha1
