"""Phrases of made-up Dutch reports."""

BY = [" x ", " x ", "x", " bij ", " X "]
RANGE = ["-", " - ", " tot ", "–", " à "]
LONG_UNITS = {"mm": "millimeter", "cm": "centimeter"}
DATES = ["12-03-2021", "2 januari", "5 maart 2020", "14-8-19", "d.d. 02-11-2022", "27-05"]
REFERENCES = [
    "(IMA {s}-{i})", "(serie {s}, beeld {i})", "(se {s}/im {i})", "(serie {s} ima {i})",
    "({s}-{i})", "({s}:{i})", "({s}/{i})", "(serie {s}, ima {i})", "IMA {s}/{i}",
    "(beeld {i}, serie {s})", "op beeld {i} van serie {s}", "(Serie {s} beeld {i})", "(s{s} i{i})",
    "[{s}:{i}]", "(serie {s}, coupe {i})", "(serie/beeld {s}/{i})", "({s}{letter}:{i})",
    "(ima {i}, serie {s})", "(se{s}/im{i})", "(serie: {s}, beeld: {i})",
    "({s}; {i})", "(S{s}: {i})", "(im {i}, se {s})", "(serie {s}, axiaal beeld {i})",
    "(serie {s} beeldnummer {i})", "se{s} im{i}",
]  # fmt: skip
PLACES = {
    "lung": ["rechter bovenkwab", "linker onderkwab", "lingula", "middenkwab", "LBK"],
    "liver": ["leversegment 7", "linker leverkwab", "segment 4a van de lever", "leverkoepel"],
    "lymph_node": [
        "paratracheale klier", "axillaire lymfeklier links", "klier iliaca externa rechts",
        "retroperitoneale lymfeklier", "lymfeklier station 4R", "inguinale klier rechts",
    ],
    "kidney": ["bovenpool van de linker nier", "rechter nier", "linkernier"],
    "pancreas": ["pancreasstaart", "pancreaskop", "processus uncinatus van het pancreas"],
    "bone": ["wervellichaam L3", "os ilium rechts", "rib 6 links", "sacrum", "wervel Th8"],
    "abdomen": ["linker bijnier", "bijnier rechts", "omentum majus", "milt"],
    "soft_tissue": ["m. gluteus links", "subcutane weke delen van de rug", "linker mamma"],
    "pelvis": ["linker ovarium", "adnexen links", "blaaskoepel"],
}  # fmt: skip
LESIONS = [
    ("nodus {L}, {S} {R}, vh {P}.", "lung"),
    ("subsolide nodus in de {L} van {S} {R}, met een solide component van 3 mm.", "lung"),
    ("laesie in de {L} onveranderd {S} {R}.", "liver"),
    ("laesie 2: {L}, {T} {R}, was {P}.", "kidney"),
    ("de laesie in de {L} is gegroeid van {P} naar {S} {R}.", "kidney"),
    ("hypodensiteit in de {L} {S1} {R1} en een tweede van {S2} {R2}.", "liver liver"),
    ("{L} meet {S} korte as {R}, destijds {P}.", "lymph_node"),
    ("de massa in de {L}, {T} {R}, ligt 12 mm van de middenlijn.", "abdomen"),
    ("seroom in de {L}, {T} {R}, kleiner dan voorheen ({P}).", "soft_tissue"),
    ("in de {L} een nodus van {S} {R}.", "lung"),
    ("solide nodus in de {L} van {S} {R}.", "lung"),
    ("nodus in de {L} {R} met een diameter van {S}.", "lung"),
    ("gespiculeerde massa in de {L}, nu {S}, voorheen {P} {R}.", "lung"),
    ("{L}: matglashaard {S} {R}, ongewijzigd.", "lung"),
    ("hypodense laesie in {L} {S} {R}.", "liver"),
    ("de metastase in de {L} is toegenomen en meet nu {S} {R}, eerder {P}.", "liver"),
    ("de grootste leverlaesie ligt in segment 6 en meet {S} {R} (was {P}).", "liver"),
    ("twee levermetastasen: {S1} in segment 2 {R1} en {S2} in segment 8 {R2}.", "liver liver"),
    ("vergrote {L} met een korte as van {S} {R}.", "lymph_node"),
    ("vergrote {L}, {S} {R}.", "lymph_node"),
    ("mediastinale lymfadenopathie, de grootste klier subcarinaal {T} {R}.", "lymph_node"),
    ("aankleurende massa in de {L} van {T} {R}.", "kidney"),
    ("simpele cyste in de {L}, {S}.", "kidney"),
    ("slecht afgrensbare hypodense tumor in de {L} ({S}) {R}.", "pancreas"),
    ("lytische laesie in {L} van ongeveer {S} {R}.", "bone"),
    ("sclerotische haard, {S}, in {L} {R}, was {P}.", "bone"),
    ("nodus van de {L} {S} {R}, stabiel.", "abdomen"),
    ("wekedelenmassa in {L} met afmetingen {T} {R}.", "soft_tissue"),
    ("complexe cyste in het {L} van {S}.", "pelvis"),
    ("nodus rechter bovenkwab {S1} {R1}, nodus linker onderkwab {S2} {R2}.", "lung lung"),
    ("de eerder beschreven laesie in de {L} meet {S} {R}.", "liver"),
    ("de {L} meet {S} {R} (voorheen {P}) en is niet veranderd.", "lymph_node"),
    ("geen nieuwe laesies, maar de bekende nodus in de {L} meet {S} {R}.", "lung"),
    ("massa in de blaaswand, {T} {R}, met infiltratie van het vet.", "pelvis"),
    ("peritoneale depositie van {S} {R}.", "abdomen"),
    ("bijnierhaard links, {S} {R}.", "abdomen"),
    ("in de {L} een {S} grote massa {R} grenzend aan de aorta.", "lung"),
    ("groei van de massa in de {L} tot {S} {R}; dit was {P}.", "lung"),
    ("ter hoogte van de {L} een {S} grote nodus. {R}.", "lung"),
]
TRAPS = [
    "Trachea {mm}.", "Galblaasstenen tot {mm}.", "Heupprothese met een kop van 28 mm.",
    "De tumor heeft contact met de aorta over {mm}.", "VMS vernauwd over een traject van {cm}.",
    "Retrolisthesis L2 van {mm}.", "Bij noduli groter dan {mm} wordt follow-up geadviseerd.",
    "Darmlissen tot {mm}.", "Geen nieuwe klieren > {mm}.", "Laterale poot van de bijnier {mm}.",
    "Septa tot {mm}.", "Hilaire klieren subcentimeter.", "DLP 702 mGy cm, fantoom 32 cm.",
    "Som van de diameters = {cm} = {mm}.", "Nierconcrement van {mm}.", "Pyelum {mm}.",
    "Huidverdikking van {mm}.", "Tip van de port {cm} onder de clavicula.",
    "De milt meet {cm}.", "Milt niet vergroot, {cm}.", "Lever {cm} craniocaudaal.",
    "De aorta ascendens heeft een diameter van {cm}.", "Ductus choledochus {mm}.",
    "Appendix normaal, {mm}.", "Ductus pancreaticus {mm}.",
    "Geen lymfeklieren groter dan {mm}.", "Geen longnoduli groter dan {mm}.",
    "Geen aanwijzingen voor een massa > {mm}.", "Tube met de tip {cm} boven de carina.",
    "Geen vergrote retroperitoneale klieren.", "Uterus 8,1 x 4,2 x 5,0 cm.",
    "Galblaaswand {mm}.", "Vergeleken met CT van {D}.",
    "Degeneratieve veranderingen L3-L4 en L4-5.", "Pleuravocht beiderzijds, rechts {cm}.",
    "Densiteit van {n} HU.", "De linker nier is {cm} lang, de rechter nier {cm}.",
    "Steentje van {mm} in de linker nier.", "Na 80 ml contrast met 3 ml/s.",
    "SUVmax {n}.", "Dosering 75 mg, 2 x daags.", "Midline shift van {mm}.",
    "De tumor ligt op {mm} van de mesorectale fascie.", "Prostaatvolume {n} cc.",
    "Hernia diafragmatica van {cm}.", "De nodus van {mm} in de middenkwab is niet meer zichtbaar.",
    "Reconstructies op basis van serie 4.", "Anterolisthesis L5-S1 van {mm}.",
    "Volgens de Fleischner richtlijn hoeven noduli kleiner dan 6 mm geen controle.",
    "Vena portae doorgankelijk, diameter {mm}.",
    "Geen noduli, massa's of klieren van meer dan 1 cm.",
    "Stent van {cm} in de ductus choledochus.", "Prominente ring van Waldeyer.",
    "Aneurysma van de aorta abdominalis van {cm}.", "Laesie nummer {n} gebiopteerd op {D}.",
    "Station 4R en 7 zonder adenopathie.", "Hernia umbilicalis met een breukpoort van {cm}.",
    "Recidief rechterlies (27-05).",
]  # fmt: skip
OPENINGS = [
    "CT thorax en abdomen.\nVraagstelling: coloncarcinoom, evaluatie na 4 kuren.",
    "Klinische gegevens: niertumor. Vergelijking: CT van 12-03-2021.",
    "Onderzoek: CT thorax/abdomen 14-05-2022\nVoorgeschiedenis: lymfoom, 61 jaar.",
    "Indicatie: gemetastaseerd melanoom, follow-up.",
]
TECHNIQUE = [
    "Techniek: spiraal CT met coupes van 5 mm, serie {n} axiaal.",
    "Techniek: 100 ml Omnipaque 300 i.v., coupedikte 3 mm, reconstructies 1 mm.",
    "Contrast: 85 ml iomeron 300.", "Matrix 512 x 512, pitch 1,2, 120 kV.",
    "Protocol: portoveneuze fase, serie {n}; longkernel, serie 6.",
]  # fmt: skip
FINDINGS = ["Verslag:", "Bevindingen:", "BEVINDINGEN:", "Verslag"]
TARGET_HEADS = ["Target lesies:", "Doellaesies:", "Target laesies (RECIST 1.1):", "TARGETLAESIES"]
NON_TARGET_HEADS = ["Non-target lesies:", "Non-target laesies:", "Niet-doellaesies:"]
NON_TARGETS = [
    "- Pleurale noduli, aanwezig", "- Milt 11 cm, ongewijzigd",
    "- Kleine leverlaesies, subcentimeter",
    "- Sclerotische botlaesies", "- Ascites, toegenomen",
]  # fmt: skip
SUMS = [
    "Som van de diameters: {n} mm", "SLD {n} mm", "SPD {n}", "Som target laesies {n} mm (was 98 mm)"
]  # fmt: skip
ITEMS = [
    "#. {L}: {S} {R}", "#) {L} {T} {R}, voorheen {P}", "TL#: {L}, {S} {R}",
    "- {L} {R}: {T}", "{L} {T} {R}", "T#: {L} - {S} (was {P}) {R}",
]  # fmt: skip
TABLE_LEADS = ["Metingen van de laesies:", "Tumormetingen", "RECIST tabel"]
TABLE_HEADS = [
    [
        ("nr", "Laesie"),
        ("where", "Locatie"),
        ("size", "Grootte (mm)"),
        ("series", "Serie"),
        ("image", "Beeld"),
    ],
    [
        ("where", "Locatie"),
        ("was", "Vorige (mm)"),
        ("size", "Huidig (mm)"),
        ("both", "Serie/beeld"),
    ],
    [
        ("nr", "Nr"),
        ("where", "Lokalisatie"),
        ("series", "Se"),
        ("image", "Ima"),
        ("size", "Diameter (mm)"),
    ],
]
CONCLUSIONS = [
    "Conclusie: stabiele ziekte.", "Conclusie:\nGeen aanwijzingen voor nieuwe metastasen.",
    "Impressie: partiële respons. Controle over 3 maanden.",
]  # fmt: skip
