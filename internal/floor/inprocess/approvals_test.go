package inprocess

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// decision is one of eve on a path.
func decision(changes ...func(*v1alpha1.DelegationApproval)) *v1alpha1.DelegationApproval {
	return with(&v1alpha1.DelegationApproval{ObjectMeta: named("a"), Spec: v1alpha1.DelegationApprovalSpec{
		Path: v1alpha1.ApprovedPath{Name: "p", UID: "1"}, Digest: "sha256:0", Decision: v1alpha1.DecisionApproved, Reason: "x",
		ExpiresAt: metav1.Time{Time: began.Add(time.Hour)}, Approver: &v1alpha1.Approver{User: eve},
	}}, changes...)
}

var mayApprove = may("approve delegationpaths/p")

func decidedBy(a *v1alpha1.Approver) func(*v1alpha1.DelegationApproval) {
	return func(d *v1alpha1.DelegationApproval) { d.Spec.Approver = a }
}

// largest is an approver at the bounds of the schema.
var largest = &v1alpha1.Approver{User: long(1024), Groups: many(256, 1024)}

// approvalRules are about decisions on paths.
var approvalRules = map[string]tried{"approvals": {
	idle: create(path()),
	rows: map[string]row{
		"nobody": {
			"spec.approver is not stamped", create(decision(decidedBy(nil)), by(eve), mayApprove),
			create(decision(), by(eve), mayApprove),
		},
		"somebody else": {
			"names somebody else", create(decision(decidedBy(&v1alpha1.Approver{User: "bob"})), by(eve), mayApprove),
			create(decision(), by(eve), mayApprove),
		},
		"a group that they are not in": {
			"names somebody else",
			create(decision(decidedBy(&v1alpha1.Approver{User: eve, Groups: []string{"leads"}})), by(eve), mayApprove),
			create(decision(decidedBy(&v1alpha1.Approver{User: eve, Groups: []string{"leads"}})), by(eve, "leads"), mayApprove),
		},
		"a credential that they do not use": {
			"names somebody else",
			create(decision(decidedBy(&v1alpha1.Approver{User: eve, CredentialID: "JTI=1"})), by(eve), mayApprove),
			create(decision(), by(eve), mayApprove),
		},
		"who may not": {
			`you do not hold the verb approve on delegationpath "p"`, create(decision(), by(eve), may("approve delegationpaths/q")),
			create(decision(), by(eve), mayApprove),
		},
		"root, as somebody else": {
			"names somebody else", create(decision()), create(decision(decidedBy(&v1alpha1.Approver{User: root}))),
		},
	},
	worst: map[string]row{"as many groups as there may be": {
		"names somebody else", create(decision(decidedBy(largest)), by(long(1024), many(255, 1024)...), mayApprove),
		create(decision(decidedBy(largest)), by(long(1024), many(256, 1024)...), mayApprove),
	}},
}}
