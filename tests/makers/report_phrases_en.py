"""Phrases of made-up English reports."""

BY = [" x ", " x ", "x", " by ", " X "]
RANGE = ["-", " - ", " to ", "–"]
LONG_UNITS = {"mm": "millimeters", "cm": "centimeters"}
DATES = ["12/03/2021", "2020-11-02", "March 4, 2019", "8/14/19", "02-2022", "5 May"]
REFERENCES = [
    "(IMA {s}-{i})", "(series {s}, image {i})", "(se {s}/im {i})", "(series {s} image {i})",
    "(image #{i} series {s})", "({s}:{i})", "({s}{letter}:{i})", "({s}-{i})", "(Se {s}, Im {i})",
    "on image {i} of series {s}", "(series {s}/{i})", "(S{s} I{i})", "[{s}/{i}]", "(se{s} im{i})",
    "(series {s}, slice {i})", "(img {i}, ser {s})", "; series {s}, image {i}", "({s}/{i})",
    "(image {i}, series {s})", "(series #{s}, image #{i})", "({s}; {i})", "(S{s}: {i})",
    "[S{s}/I{i}]", "SE/IM {s}/{i}", "(Im {i}, Se {s})", "(series {s}, axial image {i})",
    "(ser. {s}, img. {i})",
]  # fmt: skip
PLACES = {
    "lung": ["right upper lobe", "left lower lobe", "lingula", "middle lobe", "right lung apex"],
    "liver": ["hepatic segment 7", "left hepatic lobe", "liver dome", "segment 4a of the liver"],
    "lymph_node": [
        "paratracheal node", "left axillary lymph node", "external iliac node",
        "retroperitoneal lymph node", "station 4R lymph node", "right inguinal node",
    ],
    "kidney": ["upper pole of the left kidney", "right kidney", "interpolar left kidney"],
    "pancreas": ["pancreatic tail", "head of the pancreas", "uncinate process of the pancreas"],
    "bone": ["L3 vertebral body", "right iliac bone", "left 6th rib", "sacrum", "T8 vertebra"],
    "abdomen": ["left adrenal gland", "right adrenal", "greater omentum", "spleen"],
    "soft_tissue": ["left gluteal muscle", "subcutaneous fat of the back", "left breast"],
    "pelvis": ["left ovary", "left adnexa", "bladder dome"],
}  # fmt: skip
# Templates and the type of each lesion in them.
LESIONS = [
    ("There is a {S} nodule in the {L} {R}.", "lung"),
    ("A solid nodule in the {L} measures {S} {R}.", "lung"),
    ("Nodule in the {L} {R} measuring {S}.", "lung"),
    ("Spiculated mass in the {L}, now {S}, previously {P} {R}.", "lung"),
    ("{L}: {S} ground-glass nodule {R}, unchanged.", "lung"),
    ("Hypodense lesion in the {L} {S} {R}.", "liver"),
    (
        "The metastasis in the {L} has increased and measures {S} {R}, compared to {P} previously.",
        "liver",
    ),
    ("Largest hepatic lesion is seen in segment 6 and measures {S} {R} (prior {P}).", "liver"),
    ("Two liver metastases: {S1} in segment 2 {R1} and {S2} in segment 8 {R2}.", "liver liver"),
    ("Enlarged {L} measuring {S} in short axis {R}.", "lymph_node"),
    ("An enlarged {L}, {S} {R}.", "lymph_node"),
    (
        "Mediastinal adenopathy, the largest node in the subcarinal region measuring {T} {R}.",
        "lymph_node",
    ),
    ("Enhancing mass in the {L} of {T} {R}.", "kidney"),
    ("Simple cyst in the {L}, {S}.", "kidney"),
    ("Ill-defined hypoattenuating tumor in the {L} ({S}) {R}.", "pancreas"),
    ("Lytic lesion in the {L} measuring approximately {S} {R}.", "bone"),
    ("Sclerotic focus, {S}, in the {L} {R}, was {P}.", "bone"),
    ("Nodule of the {L} {S} {R}, stable.", "abdomen"),
    ("Soft tissue mass in the {L} measuring {T} {R}.", "soft_tissue"),
    ("Complex cyst of the {L} measuring {S}.", "pelvis"),
    ("Right upper lobe nodule of {S1} {R1}, left lower lobe nodule of {S2} {R2}.", "lung lung"),
    ("The previously noted lesion in the {L} is {S} {R}.", "liver"),
    ("The {L} on the right measures {S} {R} (previously {P}) and has not changed.", "lymph_node"),
    ("No new lesions, but the known nodule in the {L} measures {S} {R}.", "lung"),
    ("Bladder wall mass, {T} {R}, with perivesical stranding.", "pelvis"),
    ("{S} peritoneal implant {R}.", "abdomen"),
    ("Nodule {L}, {S} {R}, prev. {P}.", "lung"),
    ("Part-solid nodule of the {L} measures {S} {R}, with a solid component of 3 mm.", "lung"),
    ("The {L} lesion is unchanged at {S} {R}.", "liver"),
    ("Lesion 2: {L}, {T} {R}, previously {P}.", "kidney"),
    ("The lesion of the {L} has grown from {P} to {S} {R}.", "kidney"),
    ("Hypodensity in the {L} {S1} {R1} and a second one of {S2} {R2}.", "liver liver"),
    ("{L} measures {S} short axis {R}, formerly {P}.", "lymph_node"),
    ("The mass in the {L}, {T} {R}, lies 12 mm from the midline.", "abdomen"),
    ("Seroma in the {L}, {T} {R}, smaller than before ({P}).", "soft_tissue"),
    ("Adrenal nodule on the left, {S} {R}.", "abdomen"),
    ("In the {L} a {S} mass {R} abuts the aorta.", "lung"),
    ("Interval growth of the {L} mass to {S} {R}; it was {P}.", "lung"),
]
TRAPS = [
    "The spleen measures {cm}.", "Spleen is normal in size, {cm}.", "Liver span of {cm}.",
    "The ascending aorta measures {cm} in diameter.", "Common bile duct {mm}.",
    "The appendix is normal at {mm}.", "Pancreatic duct measures {mm}.",
    "No lymph nodes larger than {mm}.", "No pulmonary nodules greater than {mm}.",
    "There is no evidence of a mass > {mm}.", "Endotracheal tube tip {cm} above the carina.",
    "No enlarged retroperitoneal lymph nodes.", "Uterus measures 8.1 x 4.2 x 5.0 cm.",
    "Gallbladder wall thickness {mm}.", "Compared with the CT of {D}.",
    "Degenerative changes at L3-L4 and L4-5.", "Bilateral pleural effusions, right {cm} in depth.",
    "Attenuation of {n} HU.", "The left kidney is {cm} in length, the right kidney {cm}.",
    "Non-obstructing {mm} stone in the left kidney.", "Received 80 ml of contrast at 3 ml/s.",
    "SUV max {n}.", "Dose 75 mg daily, 2 x 5 days.", "Midline shift of {mm}.",
    "The tumor lies {mm} from the mesorectal fascia.", "Prostate volume of {n} cc.",
    "Hiatal hernia of {cm}.", "The previously seen {mm} nodule has resolved.",
    "Series 4 was used for the reconstructions.", "Grade 1 anterolisthesis of L5 on S1, {mm}.",
    "According to Fleischner, nodules of less than 6 mm need no follow-up.",
    "Portal vein is patent with a diameter of {mm}.", "No nodules, masses or nodes over 1 cm.",
    "Stent of {cm} in the common bile duct.", "Ring of Waldeyer is prominent.",
    "Abdominal aortic aneurysm of {cm}.", "Lesion number {n} was biopsied on {D}.",
    "Tracheal diameter {mm}.", "Gallstones up to {mm}.", "Hip prosthesis with a head of 28 mm.",
    "The tumor abuts the aorta over {mm}.", "SMV narrowed over {cm}.",
    "Retrolisthesis of L2, {mm}.",
    "Follow-up is recommended for nodules of more than {mm}.", "Bowel caliber up to {mm}.",
    "No new nodes > {mm}.", "Adrenal limb of {mm}.", "Septations up to {mm}.",
    "Subcarinal and hilar nodes are subcentimeter.", "Upstream ductal dilatation, {mm}.",
    "DLP 702 mGy cm, 32 cm phantom.", "Sum of diameters = {cm} = {mm}.",
    "Skin thickening of {mm}.", "Renal pelvis {mm} AP.", "Port tip {cm} below the clavicle.",
    "Station 4R and 7 without adenopathy.", "Umbilical hernia with a defect of {cm}.",
]  # fmt: skip
OPENINGS = [
    "CT chest and abdomen.\nIndication: colorectal cancer, evaluation after 4 cycles.",
    "CLINICAL INFORMATION: renal mass. COMPARISON: CT of 12/03/2021.",
    "Examination: CT thorax/abdomen 2022-05-14\nHistory: lymphoma, 61 years.",
    "INDICATION: Metastatic melanoma, follow-up.",
]
TECHNIQUE = [
    "Technique: helical CT with 5 mm slices, series {n} axial.",
    "TECHNIQUE: 100 mL Omnipaque 300 IV, slice thickness 3 mm, reconstructions 1 mm.",
    "Contrast: 85 ml iomeron 300.", "Matrix 512 x 512, pitch 1.2, 120 kV.",
    "Protocol: portal venous phase, series {n}; lung kernel, series 6.",
]  # fmt: skip
FINDINGS = ["Findings:", "FINDINGS:", "Report:", "Findings"]
TARGET_HEADS = ["Target lesions:", "TARGET LESIONS", "Target lesions (RECIST 1.1):"]
NON_TARGET_HEADS = ["Non-target lesions:", "Non target lesions:", "NON-TARGET LESIONS:"]
NON_TARGETS = [
    "- Pleural nodules, present", "- Spleen 11 cm, unchanged",
    "- Small liver lesions, subcentimeter",
    "- Sclerotic bone lesions", "- Ascites, increased",
]  # fmt: skip
SUMS = [
    "Sum of diameters: {n} mm", "SLD {n} mm", "SPD: {n}", "Sum of target lesions {n} mm (was 98 mm)"
]  # fmt: skip
ITEMS = [
    "#. {L}: {S} {R}", "#) {L} {T} {R}, previously {P}", "TL#: {L}, {S} {R}",
    "- {L} {R}: {T}", "{L}: {T} {R}", "T#: {L} - {S} (prior {P}) {R}",
]  # fmt: skip
TABLE_LEADS = ["Measurements of lesions:", "Tumor measurements", "RECIST table"]
TABLE_HEADS = [
    [
        ("nr", "Lesion"),
        ("where", "Location"),
        ("size", "Size (mm)"),
        ("series", "Series"),
        ("image", "Image"),
    ],
    [
        ("where", "Site"),
        ("was", "Previous (mm)"),
        ("size", "Current (mm)"),
        ("both", "Series/Image"),
    ],
    [
        ("nr", "#"),
        ("where", "Location"),
        ("series", "Se"),
        ("image", "Im"),
        ("size", "Diameter (mm)"),
    ],
]
CONCLUSIONS = [
    "Impression: stable disease.", "IMPRESSION:\nNo evidence of new metastases.",
    "Conclusion: partial response. Follow-up in 3 months.",
]  # fmt: skip
